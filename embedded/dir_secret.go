package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"
)

// maxSecretSize is more than any seed has; what is longer was not written by Hocket.
const maxSecretSize = 256

// secret is the key pair that members of a shared directory prove themselves with. The file holds its seed, 256 random
// bits in the usual NATS spelling, so that `nats --nkey` reads it too. A key pair rather than a password: a member signs
// what the server sends and never shows the secret, not even to a stranger that caught the port of an owner just killed.
type secret struct {
	seed   []byte
	public string
}

// parseSecret reads a user seed.
func parseSecret(seed []byte) (secret, error) {
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return secret{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return secret{}, err
	}
	if !nkeys.IsValidPublicUserKey(public) {
		return secret{}, errors.New("not a user's seed")
	}
	return secret{seed: seed, public: public}, nil
}

// newSecret makes a random one.
func newSecret() (secret, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return secret{}, err
	}
	seed, err := pair.Seed()
	if err != nil {
		return secret{}, err
	}
	return parseSecret(seed)
}

// sign answers the server's challenge.
func (s secret) sign(nonce []byte) ([]byte, error) {
	pair, err := nkeys.FromSeed(s.seed)
	if err != nil {
		return nil, err
	}
	return pair.Sign(nonce)
}

// loadSecret reads the directory's secret. It refuses a file that others can read ([ErrInsecureDir]) and one that is no
// seed ([ErrCorruptDir]); the error is fs.ErrNotExist when there is none.
func loadSecret(dir string) (secret, error) {
	name := filepath.Join(dir, secretFileName)
	f, err := os.Open(name)
	if err != nil {
		return secret{}, fmt.Errorf("embedded: secret of data directory: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()            // of the open file: what is checked is what is read
	if err != nil {
		return secret{}, fmt.Errorf("embedded: secret of data directory: %w", err)
	}
	if why := tooOpen(info, 0o077); why != "" {
		return secret{}, fmt.Errorf("%w: secret %s %s, it must belong to this user with mode 0600", ErrInsecureDir, name, why)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretSize))
	if err != nil {
		return secret{}, fmt.Errorf("embedded: secret of data directory: %w", err)
	}
	sec, err := parseSecret(bytes.TrimSpace(b))
	if err != nil {
		return secret{}, fmt.Errorf("%w: secret %s: %w", ErrCorruptDir, name, err)
	}
	return sec, nil
}

// saveSecret replaces the directory's secret. Only who holds the lock may.
func saveSecret(dir string, sec secret) error {
	if err := replaceFile(filepath.Join(dir, secretFileName), append(bytes.Clone(sec.seed), '\n'), true); err != nil {
		return fmt.Errorf("embedded: write the secret of data directory: %w", err)
	}
	return nil
}

// ownSecret is the secret that the holder of the lock serves with: the directory's, made now if there is none. known is
// what it was a member with, if it was one (else zero). That one stays, and is put back if the file is missing or was
// tampered with, since every other member's connections have it too.
func ownSecret(dir string, known secret) (secret, error) {
	sec, err := loadSecret(dir)
	switch {
	case known.public != "":
		if err == nil && sec.public == known.public {
			return known, nil
		}
		return known, saveSecret(dir, known)
	case !errors.Is(err, fs.ErrNotExist):
		return sec, err
	}
	if sec, err = newSecret(); err != nil {
		return secret{}, fmt.Errorf("embedded: make a secret: %w", err)
	}
	return sec, saveSecret(dir, sec)
}

// checkPrivate refuses ([ErrInsecureDir]) a directory in which other users could replace the secret or the record.
func checkPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("embedded: data directory: %w", err)
	}
	if why := tooOpen(info, 0o022); why != "" {
		return fmt.Errorf("%w: %s %s, make it 0700 or use a subdirectory", ErrInsecureDir, dir, why)
	}
	return nil
}
