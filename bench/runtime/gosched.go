// What runtime.Gosched costs among many goroutines on one processor: for bench/runtime/native.py.
// Prints nanoseconds a step.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

func main() {
	goroutines, _ := strconv.Atoi(os.Args[1])
	turns, _ := strconv.Atoi(os.Args[2])
	runtime.GOMAXPROCS(1)
	var all sync.WaitGroup
	began := time.Now()
	for range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			for range turns {
				runtime.Gosched()
			}
		}()
	}
	all.Wait()
	fmt.Println(float64(time.Since(began).Nanoseconds()) / float64(goroutines*turns))
}
