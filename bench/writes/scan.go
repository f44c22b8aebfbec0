package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
)

// pageKeys is the limit of each Range: its response stays below the 4 MiB that gRPC clients accept.
const pageKeys = 10_000

// scan reads all keys with their values once.
func scan(client *grpc.ClientConn, options options) (result, error) {
	read := scanIronflow
	if options.target == "etcd" {
		read = scanEtcd
	}
	started := time.Now()
	count, err := read(client)
	if err != nil {
		return result{}, err
	}
	if count != options.keys {
		return result{}, fmt.Errorf("the scan returned %d entries of %d", count, options.keys)
	}
	return result{PerSecond: float64(count) / time.Since(started).Seconds()}, nil
}

func scanIronflow(client *grpc.ClientConn) (int, error) {
	stream, err := client.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true}, ironflow+"Scan")
	if err != nil {
		return 0, err
	}
	if err := stream.SendMsg(field(nil, 1, []byte("bench"))); err != nil {
		return 0, err
	}
	if err := stream.CloseSend(); err != nil {
		return 0, err
	}
	count := 0
	for {
		var response []byte
		err := stream.RecvMsg(&response)
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil {
			return 0, err
		}
		err = eachField(response, func(number int, _ []byte) error {
			if number == 1 {
				count++
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
}

func scanEtcd(client *grpc.ClientConn) (int, error) {
	count := 0
	for from := []byte("user."); ; {
		request := field(field(nil, 1, from), 2, []byte("user/"))
		request = binary.AppendUvarint(append(request, 3<<3), pageKeys)
		var response, last []byte
		if err := client.Invoke(context.Background(), etcd+"Range", request, &response); err != nil {
			return 0, err
		}
		inPage := 0
		err := eachField(response, func(number int, entry []byte) error {
			if number == 2 {
				inPage++
				last = entry
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		count += inPage
		if inPage < pageKeys {
			return count, nil
		}
		err = eachField(last, func(number int, key []byte) error {
			if number == 1 {
				from = append(append([]byte(nil), key...), 0)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
}

// eachField calls visit with each field of a message; of a number, without its value.
func eachField(message []byte, visit func(number int, value []byte) error) error {
	for len(message) > 0 {
		tag, size := binary.Uvarint(message)
		length, more := binary.Uvarint(message[max(size, 0):])
		if size <= 0 || more <= 0 {
			return io.ErrUnexpectedEOF
		}
		message = message[size+more:]
		var value []byte
		if tag&7 == 2 {
			if uint64(len(message)) < length {
				return io.ErrUnexpectedEOF
			}
			value, message = message[:length], message[length:]
		} else if tag&7 != 0 {
			return fmt.Errorf("the field %d has the wire type %d", tag>>3, tag&7)
		}
		if err := visit(int(tag>>3), value); err != nil {
			return err
		}
	}
	return nil
}
