// What a goroutine waits for when it changes threads: the three rows of bench/runtime/threads.py.
// Prints the median of each, in microseconds, as JSON.
package main

import (
	"encoding/json"
	"os"
	"runtime"
	"sort"
	"syscall"
	"time"
)

const rounds = 40

func median(of func() time.Duration) float64 {
	values := make([]float64, rounds)
	for i := range values {
		values[i] = float64(of().Nanoseconds()) / 1e3
	}
	sort.Float64s(values)
	return values[rounds/2]
}

func pipe() (int, int) {
	ends := make([]int, 2)
	if err := syscall.Pipe(ends); err != nil {
		panic(err)
	}
	return ends[0], ends[1]
}

// A goroutine waits, and no processor has work; another thread wakes it.
func free() time.Duration {
	woken := make(chan time.Time)
	late := make(chan time.Duration)
	go func() { late <- time.Since(<-woken) }()
	time.Sleep(2 * time.Millisecond)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	woken <- time.Now()
	return <-late
}

// A goroutine comes back from a call during which its processor was taken.
func taken() time.Duration {
	reader, writer := pipe()
	back := make(chan time.Time)
	go func() {
		syscall.Read(reader, make([]byte, 1))
		runtime.Gosched()
		back <- time.Now()
	}()
	for began := time.Now(); time.Since(began) < 12*time.Millisecond; {
		runtime.Gosched()
	}
	freed := time.Now()
	syscall.Write(writer, []byte("x"))
	for {
		select {
		case now := <-back:
			syscall.Close(reader)
			syscall.Close(writer)
			return now.Sub(freed)
		default:
			runtime.Gosched()
		}
	}
}

// A goroutine blocks in a call; how long until the next one runs.
func blocked() time.Duration {
	reader, writer := pipe()
	began := make(chan time.Time, 1)
	done := make(chan bool)
	go func() {
		began <- time.Now()
		syscall.Read(reader, make([]byte, 1))
		close(done)
	}()
	runtime.Gosched()
	late := time.Since(<-began)
	syscall.Write(writer, []byte("x"))
	<-done
	syscall.Close(reader)
	syscall.Close(writer)
	return late
}

func main() {
	runtime.GOMAXPROCS(1)
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"free": median(free), "taken": median(taken), "blocked": median(blocked),
	})
}
