package benchmarks

import (
	"context"
	"errors"
	"fmt"
)

// EchoCell lets the contenders that take part in the site's topology run in turns.
func EchoCell(ctx context.Context, site *Site, contenders []Contender, size int, pace Pace) (cell Cell, err error) {
	cell = Cell{Work: "echo", Topology: site.Topology, Size: size, Callers: pace.Callers}
	message := NewMessage(size)
	var done closers
	defer func() { err = errors.Join(err, done.Close()) }()

	var lanes []Lane
	for _, c := range contenders {
		if !c.On(site.Topology) {
			continue
		}
		e, openErr := c.Open(ctx, site)
		if openErr != nil {
			return cell, fmt.Errorf("%s: %w", c.Name, openErr)
		}
		done = append(done, e.Close)
		cell.Names = append(cell.Names, c.Name)
		lanes = append(lanes, Lane{Name: c.Name, CPU: site.CPU, Do: func(ctx context.Context) error {
			got, echoErr := e.Echo(ctx, message)
			if echoErr != nil {
				return echoErr
			}
			return check(message, got)
		}})
	}
	cell.Turns, err = Run(ctx, pace, lanes)
	return cell, err
}

// PublishCell is the same for publishers.
func PublishCell(
	ctx context.Context, site *Site, publishers []Publisher, size int, syncAlways bool, pace Pace,
) (cell Cell, err error) {
	cell = Cell{Work: "publish", Topology: site.Topology, Sync: syncAlways, Size: size, Callers: pace.Callers}
	message := NewMessage(size)
	var done closers
	defer func() { err = errors.Join(err, done.Close()) }()

	var lanes []Lane
	for _, p := range publishers {
		publish, closePublisher, openErr := p.Open(ctx, site)
		if openErr != nil {
			return cell, fmt.Errorf("%s: %w", p.Name, openErr)
		}
		done = append(done, closePublisher)
		cell.Names = append(cell.Names, p.Name)
		lanes = append(lanes, Lane{Name: p.Name, CPU: site.CPU, Do: func(ctx context.Context) error {
			return publish(ctx, message)
		}})
	}
	cell.Turns, err = Run(ctx, pace, lanes)
	return cell, err
}
