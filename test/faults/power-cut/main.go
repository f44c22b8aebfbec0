// Command power-cut mounts a file system in memory that keeps apart what was written and what was synced, and drops
// the unsynced on command, as a power cut does. README.md describes the model and the commands.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	model := flag.String("model", "paths", "what makes names durable: posix, paths or journal")
	size := flag.Uint64("size", 4<<30, "size of the disk in bytes, as statfs reports it")
	flag.Parse()
	disk := newDisk(*model, *size)
	if flag.NArg() != 1 || disk == nil {
		fmt.Fprintln(os.Stderr, "usage: power-cut [-model posix|paths|journal] [-size bytes] <mount point>")
		os.Exit(2)
	}
	mountPoint := flag.Arg(0)
	server, err := fuse.NewServer(disk, mountPoint, &fuse.MountOptions{
		FsName:             "power-cut",
		Name:               "power-cut",
		DirectMountStrict:  true,
		DisableXAttrs:      true,
		DisableReadDirPlus: true,
		DisableSplice:      true,
		MaxWrite:           1 << 20,
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "power-cut: cannot mount at %s: %v\n", mountPoint, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go server.Serve()
	if err := server.WaitMount(); err == nil {
		fmt.Println("ready")
		go func() {
			serveCommands(disk, os.Stdin, os.Stdout)
			close(stop)
		}()
		<-stop
	}
	// Processes may still have files open here: detach, and let the exit end the connection.
	if err := syscall.Unmount(mountPoint, syscall.MNT_DETACH); err != nil {
		fmt.Fprintf(os.Stderr, "power-cut: cannot unmount %s: %v\n", mountPoint, err)
		os.Exit(1)
	}
}
