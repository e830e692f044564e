// The same echo server as servers.py: a goroutine for each connection, and one that wakes up every
// millisecond.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"sort"
	"time"
)

func echo(connection net.Conn) {
	defer connection.Close()
	room := make([]byte, 4096)
	for {
		count, err := connection.Read(room)
		if err != nil {
			return
		}
		if _, err := connection.Write(room[:count]); err != nil {
			return
		}
	}
}

func poll(late *[]time.Duration) {
	due := time.Now()
	for {
		now := time.Now()
		if due = due.Add(time.Millisecond); due.Before(now) {
			due = now
		}
		time.Sleep(due.Sub(now))
		*late = append(*late, time.Since(due))
	}
}

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	var late []time.Duration
	if len(os.Args) > 1 && os.Args[1] == "polled" {
		go poll(&late)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				panic(err)
			}
			go echo(connection)
		}
	}()
	bufio.NewReader(os.Stdin).ReadString('\n')
	sort.Slice(late, func(a, b int) bool { return late[a] < late[b] })
	p99 := 0.0
	if len(late) > 0 {
		p99 = float64(late[len(late)*99/100].Nanoseconds()) / 1000
	}
	fmt.Println(p99)
}
