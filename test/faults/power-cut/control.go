package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// faults are the errors that operations end with; 0 where they succeed.
type faults struct {
	syncs, writes syscall.Errno
}

// counts are what happened since the mount.
type counts struct {
	Syncs, Writes, FailedSyncs, FailedWrites int
}

// dropped is what a cut took: files with unsynced contents, their unsynced bytes, and unsynced names.
type dropped struct {
	Files, Bytes, Names int
}

var errors = map[string]syscall.Errno{"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC}

func (d *disk) failedSync() fuse.Status {
	if d.faults.syncs != 0 {
		d.counts.FailedSyncs++
		return fuse.Status(d.faults.syncs)
	}
	d.counts.Syncs++
	return fuse.OK
}

func (d *disk) failedWrite() fuse.Status {
	if d.faults.writes != 0 {
		d.counts.FailedWrites++
	}
	return fuse.Status(d.faults.writes)
}

// serveCommands carries out one command a line and answers each with one line of JSON, until the input ends.
func serveCommands(d *disk, in io.Reader, out io.Writer) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer, err := d.command(strings.Fields(lines.Text()))
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		text, _ := json.Marshal(answer)
		fmt.Fprintf(out, "%s\n", text)
	}
}

func (d *disk) command(words []string) (any, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	switch {
	case len(words) == 1 && words[0] == "cut":
		return d.cut(), nil
	case len(words) == 1 && words[0] == "heal":
		d.faults = faults{}
		return d.counts, nil
	case len(words) == 1 && words[0] == "counts":
		return d.counts, nil
	case len(words) == 2 && errors[words[1]] != 0 && words[0] == "fail-syncs":
		d.faults.syncs = errors[words[1]]
		return d.counts, nil
	case len(words) == 2 && errors[words[1]] != 0 && words[0] == "fail-writes":
		d.faults.writes = errors[words[1]]
		return d.counts, nil
	}
	return nil, fmt.Errorf("unknown command %q", strings.Join(words, " "))
}
