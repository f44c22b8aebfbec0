package main

import (
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// disk is the file system. One lock guards everything: each operation is short.
type disk struct {
	fuse.RawFileSystem

	mutex sync.Mutex
	model string
	size  uint64
	root  *node
	// Nodes that the kernel knows, by id. Ids are never used twice, so after a cut the old ones are stale.
	nodes  map[uint64]*node
	lastID uint64
	// Directories whose names changed since they were synced.
	unsynced map[*node]struct{}
	listings map[uint64][]string
	lastList uint64
	faults   faults
	counts   counts
}

// node is a file or a directory: as it is, and as it would be after a power cut.
type node struct {
	id       uint64
	mode     uint32
	lookups  uint64
	modified time.Time

	// The directory that it was last put into.
	parent *node
	// What is in a directory.
	names       map[string]*node
	syncedNames map[string]*node
	// Directories that share a rename which is not durable yet: both sides become durable together.
	movedWith map[*node]struct{}

	data   []byte
	synced []byte
	// data[dirtyFrom:dirtyTo] holds everything that differs from synced, but for the length.
	dirtyFrom, dirtyTo int
}

// The models: what makes the names in a directory durable.
const (
	// A sync of that directory.
	modelPosix = "posix"
	// The same; and a sync of a file or a directory covers the names that lead to it.
	modelPaths = "paths"
	// Any sync.
	modelJournal = "journal"
)

// newDisk is an empty disk; nil where there is no such model.
func newDisk(model string, size uint64) *disk {
	if model != modelPosix && model != modelPaths && model != modelJournal {
		return nil
	}
	d := &disk{RawFileSystem: fuse.NewDefaultRawFileSystem(), model: model, size: size}
	d.reset(d.newNode(syscall.S_IFDIR | 0o755))
	return d
}

// reset makes root the root, and forgets what the kernel knows of the tree before.
func (d *disk) reset(root *node) {
	root.id = fuse.FUSE_ROOT_ID
	d.root = root
	d.nodes = map[uint64]*node{root.id: root}
	d.lastID = max(d.lastID, root.id)
	d.unsynced = map[*node]struct{}{}
	d.listings = map[uint64][]string{}
}

func (d *disk) newNode(mode uint32) *node {
	d.lastID++
	created := &node{id: d.lastID, mode: mode, modified: time.Now()}
	if created.isDir() {
		created.names, created.syncedNames = map[string]*node{}, map[string]*node{}
	}
	return created
}

func (n *node) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

func (n *node) isClean() bool { return n.dirtyFrom >= n.dirtyTo && len(n.data) == len(n.synced) }

// write stores data at an offset; what lies between the end of the file and the offset reads as zeros.
func (n *node) write(data []byte, offset int) {
	from := min(offset, len(n.data))
	if end := offset + len(data); end > len(n.data) {
		n.data = resized(n.data, end)
	}
	copy(n.data[offset:], data)
	n.touch(from, offset+len(data))
}

func (n *node) truncate(size int) {
	from := min(size, len(n.data))
	n.data = resized(n.data, size)
	n.touch(from, max(size, n.dirtyTo))
}

func (n *node) touch(from, to int) {
	n.modified = time.Now()
	if n.dirtyFrom >= n.dirtyTo {
		n.dirtyFrom, n.dirtyTo = from, to
		return
	}
	n.dirtyFrom, n.dirtyTo = min(n.dirtyFrom, from), max(n.dirtyTo, to)
}

// syncData makes the contents and the length durable.
func (n *node) syncData() {
	n.synced = resized(n.synced, len(n.data))
	if from, to := n.dirtyFrom, min(n.dirtyTo, len(n.data)); from < to {
		copy(n.synced[from:to], n.data[from:to])
	}
	n.dirtyFrom, n.dirtyTo = 0, 0
}

// syncPath makes durable what a sync of a node covers beside its contents, by the model.
func (d *disk) syncPath(n *node) {
	switch d.model {
	case modelPaths:
		for ; n.parent != nil; n = n.parent {
			d.syncOwnName(n)
		}
	case modelJournal:
		for dir := range d.unsynced {
			d.syncNames(dir)
		}
	}
}

// syncNames makes the names in a directory durable, and those in directories with which it shares a rename.
func (d *disk) syncNames(dir *node) {
	dir.syncedNames = make(map[string]*node, len(dir.names))
	for name, child := range dir.names {
		dir.syncedNames[name] = child
	}
	delete(d.unsynced, dir)
	partners := dir.movedWith
	dir.movedWith = nil
	for partner := range partners {
		if _, isUnsynced := d.unsynced[partner]; isUnsynced {
			d.syncNames(partner)
		}
	}
}

// syncOwnName makes the name of a node durable, and only that one; a rename between directories as a whole.
func (d *disk) syncOwnName(n *node) {
	dir := n.parent
	if _, isUnsynced := d.unsynced[dir]; !isUnsynced {
		return
	}
	if dir.movedWith != nil {
		d.syncNames(dir)
		return
	}
	for name, child := range dir.names {
		if child != n {
			continue
		}
		for old, child := range dir.syncedNames {
			if child == n {
				delete(dir.syncedNames, old)
			}
		}
		dir.syncedNames[name] = n
	}
}

// cut drops everything that was not synced.
func (d *disk) cut() dropped {
	var what dropped
	d.reset(d.survivor(d.root, &what))
	return what
}

// survivor is what a power cut leaves of a node and of what is below it.
func (d *disk) survivor(old *node, what *dropped) *node {
	left := d.newNode(old.mode)
	left.modified = old.modified
	if !old.isDir() {
		if !old.isClean() {
			what.Files++
			what.Bytes += max(0, min(old.dirtyTo, len(old.data))-old.dirtyFrom)
		}
		left.synced = old.synced
		left.data = append([]byte(nil), old.synced...)
		return left
	}
	for name, child := range old.names {
		if old.syncedNames[name] != child {
			what.Names++
		}
	}
	for name, child := range old.syncedNames {
		if _, isThere := old.names[name]; !isThere {
			what.Names++
		}
		survivor := d.survivor(child, what)
		left.names[name], left.syncedNames[name] = survivor, survivor
		survivor.parent = left
	}
	return left
}

// resized is data with another length; what is new is zero. It grows by doubling, as files here grow by appending.
func resized(data []byte, size int) []byte {
	if size <= len(data) {
		return data[:size]
	}
	old := len(data)
	if size > cap(data) {
		larger := make([]byte, old, max(size, 2*cap(data)))
		copy(larger, data)
		data = larger
	}
	data = data[:size]
	clear(data[old:])
	return data
}
