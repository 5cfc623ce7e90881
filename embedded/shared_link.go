package embedded

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	pingEvery = time.Second     // how often a member asks whether its owner lives
	patience  = 2 * time.Second // how long the answer may take before the owner counts as unresponsive
	ioTimeout = time.Second     // for connecting and writing on loopback, and for the server's first line
)

// errStranger says that the port of an owner belongs to somebody else by now.
var errStranger = errors.New("another server answers there")

// link is a member's own connection to the owner, beside those of its program. It speaks just enough of the NATS client
// protocol to prove itself and to ask for a sign of life. The owner's death shows at once, since the kernel then ends the
// connection; that it is stopped shows by its silence, since the kernel keeps accepting and buffering for it. A link
// outlasts silence: it is how a member hears that the owner goes on.
type link struct {
	conn    net.Conn
	lines   *bufio.Reader
	partial string     // what came of a line before the deadline
	silence func(bool) // told true when the owner falls silent, false when it is heard again
	stop    func() bool
}

// openLink connects and proves this member. ctx bounds the whole life of the link.
func openLink(ctx context.Context, owner OwnerInfo, sec secret, silence func(bool)) (*link, error) {
	dialer := net.Dialer{Timeout: ioTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", owner.Address)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, lines: bufio.NewReader(conn), silence: silence}
	l.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err = l.handshake(owner, sec); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *link) close() {
	l.stop()
	_ = l.conn.Close() // nothing is left to write
}

// handshake reads INFO, sends CONNECT and PING, and reads PONG.
func (l *link) handshake(owner OwnerInfo, sec secret) error {
	line, err := l.await(false)
	if err != nil {
		return err
	}
	nonce, err := checkInfo(line, owner)
	if err != nil {
		return err
	}
	sig, err := sec.sign([]byte(nonce))
	if err != nil {
		return err
	}
	connect, err := json.Marshal(map[string]any{
		"verbose": false, "pedantic": false, "echo": false, "protocol": 1, "lang": "go", "version": nats.Version,
		"name": fmt.Sprintf("hocket member, pid %d (%s)", os.Getpid(), filepath.Base(os.Args[0])),
		"nkey": sec.public, "sig": base64.RawURLEncoding.EncodeToString(sig),
	})
	if err != nil {
		return err
	}
	if err = l.write("CONNECT " + string(connect) + "\r\nPING\r\n"); err != nil {
		return err
	}
	for {
		if line, err = l.await(false); err != nil {
			return err
		}
		if line == "PONG" {
			return nil
		}
		if err = l.handle(line); err != nil {
			return err
		}
	}
}

// watch asks for signs of life until the connection ends, and returns why it did.
func (l *link) watch() error {
	for {
		line, ok, err := l.next(pingEvery)
		if err == nil && !ok {
			if err = l.write("PING\r\n"); err != nil {
				return err
			}
			line, err = l.await(true)
		}
		if err != nil {
			return err
		}
		if err = l.handle(line); err != nil {
			return err
		}
	}
}

// handle deals with a line that nobody waits for.
func (l *link) handle(line string) error {
	switch op, rest, _ := strings.Cut(line, " "); op {
	case "PING":
		return l.write("PONG\r\n")
	case "-ERR":
		if strings.Contains(strings.ToLower(rest), "authorization") {
			return nats.ErrAuthorization
		}
		return fmt.Errorf("server error %s", rest)
	}
	return nil // PONG, and INFO when the server's configuration changes
}

// await returns the next line however long it takes, and says after a while that it takes long. The end of that is told
// at once if enough, else left to the caller, who needs to see more.
func (l *link) await(enough bool) (string, error) {
	for silent := false; ; {
		line, ok, err := l.next(patience)
		switch {
		case err != nil:
			return "", err
		case ok:
			if silent && enough {
				l.silence(false)
			}
			return line, nil
		case !silent:
			silent = true
			l.silence(true)
		}
	}
}

// next returns the next line without its end; not ok when none came within wait.
func (l *link) next(wait time.Duration) (line string, ok bool, err error) {
	if err = l.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return "", false, err
	}
	part, err := l.lines.ReadString('\n')
	l.partial += part
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	line, l.partial = strings.TrimSpace(l.partial), ""
	return line, true, nil
}

func (l *link) write(s string) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(ioTimeout)); err != nil {
		return err
	}
	_, err := l.conn.Write([]byte(s))
	return err
}

// checkInfo takes the nonce from a server's first line, which must be that of the owner's server: ports are used again.
func checkInfo(line string, owner OwnerInfo) (nonce string, err error) {
	op, rest, _ := strings.Cut(line, " ")
	var info struct {
		ServerID string `json:"server_id"`
		Nonce    string `json:"nonce"`
	}
	if op != "INFO" {
		return "", errStranger
	}
	if err = json.Unmarshal([]byte(rest), &info); err != nil {
		return "", fmt.Errorf("%w: %w", errStranger, err)
	}
	if info.ServerID != owner.ServerID {
		return "", errStranger
	}
	return info.Nonce, nil
}
