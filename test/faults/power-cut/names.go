package main

import (
	"sort"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const stale = fuse.Status(syscall.ESTALE)

// directory is the directory with an id, and the node of this name in it if there is one.
func (d *disk) directory(id uint64, name string) (dir, child *node, status fuse.Status) {
	dir = d.nodes[id]
	if dir == nil {
		return nil, nil, stale
	}
	if !dir.isDir() {
		return nil, nil, fuse.ENOTDIR
	}
	return dir, dir.names[name], fuse.OK
}

// changed notes that names in a directory differ from what is durable.
func (d *disk) changed(dir *node) {
	d.unsynced[dir] = struct{}{}
	dir.modified = time.Now()
}

func (d *disk) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	_, child, status := d.directory(header.NodeId, name)
	if status != fuse.OK {
		return status
	}
	if child == nil {
		return fuse.ENOENT
	}
	d.enter(child, out)
	return fuse.OK
}

// enter tells the kernel of a node.
func (d *disk) enter(child *node, out *fuse.EntryOut) {
	child.lookups++
	d.nodes[child.id] = child
	out.NodeId, out.Generation = child.id, 1
	child.attributes(&out.Attr)
}

func (d *disk) Forget(id, lookups uint64) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	forgotten := d.nodes[id]
	if forgotten == nil || id == fuse.FUSE_ROOT_ID {
		return
	}
	forgotten.lookups -= min(lookups, forgotten.lookups)
	if forgotten.lookups == 0 {
		delete(d.nodes, id)
	}
}

func (d *disk) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return d.create(in.NodeId, name, syscall.S_IFDIR|in.Mode&0o7777, out)
}

func (d *disk) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return d.create(in.NodeId, name, syscall.S_IFREG|in.Mode&0o7777, &out.EntryOut)
}

// Symlink stores the target as the contents, durable with the name.
func (d *disk) Symlink(_ <-chan struct{}, header *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	status := d.create(header.NodeId, name, syscall.S_IFLNK|0o777, out)
	if status != fuse.OK {
		return status
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	link := d.nodes[out.NodeId]
	link.write([]byte(target), 0)
	link.syncData()
	link.attributes(&out.Attr)
	return fuse.OK
}

func (d *disk) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	link := d.nodes[header.NodeId]
	if link == nil {
		return nil, stale
	}
	return link.data, fuse.OK
}

func (d *disk) create(id uint64, name string, mode uint32, out *fuse.EntryOut) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	dir, child, status := d.directory(id, name)
	if status != fuse.OK {
		return status
	}
	if child != nil {
		return fuse.Status(syscall.EEXIST)
	}
	if status := d.failedWrite(); status != fuse.OK {
		return status
	}
	child = d.newNode(mode)
	child.parent = dir
	dir.names[name] = child
	d.changed(dir)
	d.enter(child, out)
	return fuse.OK
}

func (d *disk) Unlink(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return d.remove(header.NodeId, name, false)
}

func (d *disk) Rmdir(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return d.remove(header.NodeId, name, true)
}

func (d *disk) remove(id uint64, name string, isDir bool) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	dir, child, status := d.directory(id, name)
	switch {
	case status != fuse.OK:
		return status
	case child == nil:
		return fuse.ENOENT
	case isDir && !child.isDir():
		return fuse.ENOTDIR
	case !isDir && child.isDir():
		return fuse.Status(syscall.EISDIR)
	case isDir && len(child.names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	delete(dir.names, name)
	d.changed(dir)
	return fuse.OK
}

func (d *disk) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	from, moved, status := d.directory(in.NodeId, oldName)
	if status != fuse.OK {
		return status
	}
	to, replaced, status := d.directory(in.Newdir, newName)
	switch {
	case status != fuse.OK:
		return status
	case moved == nil:
		return fuse.ENOENT
	case moved == replaced:
		return fuse.OK
	case replaced != nil && replaced.isDir() && len(replaced.names) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	delete(from.names, oldName)
	to.names[newName], moved.parent = moved, to
	d.changed(from)
	d.changed(to)
	if from != to {
		from.moveWith(to)
		to.moveWith(from)
	}
	return fuse.OK
}

func (n *node) moveWith(partner *node) {
	if n.movedWith == nil {
		n.movedWith = map[*node]struct{}{}
	}
	n.movedWith[partner] = struct{}{}
}

// OpenDir takes the names as they are now, so that changes during a listing do not shift its offsets.
func (d *disk) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	dir, _, status := d.directory(in.NodeId, "")
	if status != fuse.OK {
		return status
	}
	names := make([]string, 0, len(dir.names))
	for name := range dir.names {
		names = append(names, name)
	}
	sort.Strings(names)
	d.lastList++
	d.listings[d.lastList] = names
	out.Fh = d.lastList
	return fuse.OK
}

func (d *disk) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	dir, _, status := d.directory(in.NodeId, "")
	if status != fuse.OK {
		return status
	}
	names := d.listings[in.Fh]
	for index := int(in.Offset); index < len(names); index++ {
		child := dir.names[names[index]]
		if child == nil {
			continue
		}
		entry := fuse.DirEntry{Name: names[index], Ino: child.id, Mode: child.mode, Off: uint64(index + 1)}
		if !out.AddDirEntry(entry) {
			break
		}
	}
	return fuse.OK
}

func (d *disk) ReleaseDir(in *fuse.ReleaseIn) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	delete(d.listings, in.Fh)
}

func (d *disk) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	dir, _, status := d.directory(in.NodeId, "")
	if status != fuse.OK {
		return status
	}
	if status := d.failedSync(); status != fuse.OK {
		return status
	}
	d.syncNames(dir)
	d.syncPath(dir)
	return fuse.OK
}
