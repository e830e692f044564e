// How late timers come that are spread evenly over a time, and what one costs: for
// bench/runtime/timers.py.
package main

import (
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Arguments: timers, seconds before the first, seconds over which they are spread. Prints the
// lateness at the median, 99 %, 99.9 %, 100 % and 0 %, in nanoseconds, then the CPU time of each.
func main() {
	count, _ := strconv.Atoi(os.Args[1])
	first, _ := strconv.ParseFloat(os.Args[2], 64)
	seconds, _ := strconv.ParseFloat(os.Args[3], 64)
	draw := rand.New(rand.NewSource(1))
	delays := make([]time.Duration, count)
	for at := range delays {
		delays[at] = time.Duration((first + seconds*draw.Float64()) * 1e9)
	}
	late := make([]int, 0, count)
	var guard sync.Mutex
	var all sync.WaitGroup
	all.Add(count)
	began := cpu()
	for _, delay := range delays {
		due := time.Now().Add(delay)
		time.AfterFunc(delay, func() {
			guard.Lock()
			late = append(late, int(time.Since(due)))
			guard.Unlock()
			all.Done()
		})
	}
	all.Wait()
	each := int(cpu()-began) / count
	sort.Ints(late)
	at := func(share float64) int { return late[min(count-1, int(float64(count)*share))] }
	fmt.Println(at(0.5), at(0.99), at(0.999), late[count-1], late[0], each)
}
