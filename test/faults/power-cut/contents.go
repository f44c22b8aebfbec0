package main

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const blockSize = 4096

// file is the file with an id, which may be without a name by now.
func (d *disk) file(id uint64) (*node, fuse.Status) {
	found := d.nodes[id]
	if found == nil {
		return nil, stale
	}
	if found.isDir() {
		return nil, fuse.Status(syscall.EISDIR)
	}
	return found, fuse.OK
}

func (n *node) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Blksize = n.id, n.mode, 1, blockSize
	out.Size = uint64(len(n.data))
	out.Blocks = (out.Size + 511) / 512
	out.Owner = *fuse.CurrentOwner()
	out.SetTimes(&n.modified, &n.modified, &n.modified)
}

func (d *disk) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found := d.nodes[in.NodeId]
	if found == nil {
		return stale
	}
	found.attributes(&out.Attr)
	return fuse.OK
}

func (d *disk) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found := d.nodes[in.NodeId]
	if found == nil {
		return stale
	}
	if size, isSet := in.GetSize(); isSet && !found.isDir() {
		if size > uint64(len(found.data)) {
			if status := d.failedWrite(); status != fuse.OK {
				return status
			}
		}
		found.truncate(int(size))
	}
	if mode, isSet := in.GetMode(); isSet {
		found.mode = found.mode&syscall.S_IFMT | mode&0o7777
	}
	found.attributes(&out.Attr)
	return fuse.OK
}

// Open keeps the kernel's page cache out: after a cut it would still hold what was dropped.
func (d *disk) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	_, status := d.file(in.NodeId)
	return status
}

func (d *disk) Read(_ <-chan struct{}, in *fuse.ReadIn, buffer []byte) (fuse.ReadResult, fuse.Status) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found, status := d.file(in.NodeId)
	if status != fuse.OK {
		return nil, status
	}
	read := 0
	if in.Offset < uint64(len(found.data)) {
		read = copy(buffer, found.data[in.Offset:])
	}
	return fuse.ReadResultData(buffer[:read]), fuse.OK
}

func (d *disk) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found, status := d.file(in.NodeId)
	if status != fuse.OK {
		return 0, status
	}
	if status := d.failedWrite(); status != fuse.OK {
		return 0, status
	}
	d.counts.Writes++
	found.write(data, int(in.Offset))
	// O_SYNC holds the bit of O_DSYNC.
	if in.Flags&syscall.O_DSYNC != 0 {
		if status := d.syncFile(found); status != fuse.OK {
			return 0, status
		}
	}
	return uint32(len(data)), fuse.OK
}

func (d *disk) Writev(_ <-chan struct{}, _ *fuse.WriteIn, _ [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (d *disk) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found, status := d.file(in.NodeId)
	if status != fuse.OK {
		return status
	}
	return d.syncFile(found)
}

func (d *disk) syncFile(file *node) fuse.Status {
	if status := d.failedSync(); status != fuse.OK {
		// Linux marks the pages clean: the next sync succeeds without them.
		file.dirtyFrom, file.dirtyTo = 0, 0
		return status
	}
	file.syncData()
	d.syncPath(file)
	return fuse.OK
}

func (d *disk) Flush(_ <-chan struct{}, _ *fuse.FlushIn) fuse.Status { return fuse.OK }

func (d *disk) Access(_ <-chan struct{}, _ *fuse.AccessIn) fuse.Status { return fuse.OK }

func (d *disk) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Blocks = d.size / blockSize
	// A full disk has no room; a broken one still says what it had.
	if d.faults.writes != syscall.ENOSPC {
		used := uint64(usedBytes(d.root)) / blockSize
		out.Bfree = out.Blocks - min(used, out.Blocks)
		out.Bavail = out.Bfree
	}
	return fuse.OK
}

func usedBytes(n *node) int {
	bytes := len(n.data)
	for _, child := range n.names {
		bytes += usedBytes(child)
	}
	return bytes
}
