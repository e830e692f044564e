/* Echo over TCP on loopback, from outside: the load, and the floor that answers it.

   load PORT CONNECTIONS SECONDS RATE: connects, prints "ready", waits for a line, and sends messages
   of 64 bytes. RATE 0: each connection sends again when it has its answer. Otherwise so many
   messages a second are due, over the connections in turn, and an answer's time counts from when
   its message was due. Prints: answers, and the P50, P99 and maximum of their microseconds.

   load serve: one thread over epoll; prints its port, ends with its input. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, EVENTS = 256, ROOM = 65536 };
#define MOST (20 * 1000 * 1000)

struct connection {
    int descriptor;
    int received; /* bytes of the answer that is awaited */
    int64_t due;  /* when its message was due; 0: it awaits none */
};

static char message[SIZE], room[ROOM];
static float *delays;
static long answers, missed;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void watch(int poller, int descriptor, uint64_t number) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = number};
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event))
        fail("epoll_ctl");
}

static void ask(struct connection *connection, int64_t due) {
    connection->due = due;
    connection->received = 0;
    if (send(connection->descriptor, message, SIZE, MSG_NOSIGNAL) != SIZE)
        fail("send");
}

/* Takes what came; true when the answer is whole. */
static int take(struct connection *connection) {
    ssize_t count = recv(connection->descriptor, room, SIZE, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return 0;
    if (count <= 0)
        fail("recv");
    connection->received += (int)count;
    if (connection->received < SIZE)
        return 0;
    if (answers < MOST)
        delays[answers++] = (float)(now() - connection->due) / 1000;
    connection->due = 0;
    return 1;
}

static void run(int poller, struct connection *all, int count, double seconds, long rate) {
    struct epoll_event events[EVENTS];
    int64_t began = now(), ends = began + (int64_t)(seconds * 1e9), sent = 0;
    if (rate == 0)
        for (int at = 0; at < count; at++)
            ask(&all[at], now());
    while (now() < ends) {
        int64_t due = began + (rate ? sent * 1000000000LL / rate : 0), wait = due - now();
        struct timespec left = {0, wait > 0 ? wait % 1000000000 : 0};
        struct timespec second = {1, 0};
        int came = epoll_pwait2(poller, events, EVENTS, rate ? &left : &second, NULL);
        for (int at = 0; at < came; at++) {
            struct connection *connection = &all[events[at].data.u64];
            if (take(connection) && rate == 0)
                ask(connection, now());
        }
        for (; rate && (due = began + sent * 1000000000LL / rate) <= now(); sent++) {
            struct connection *next = &all[sent % count];
            if (next->due)
                missed++; /* Its last answer is late by a whole round. */
            else
                ask(next, due);
        }
    }
}

/* Takes the answers that are still on their way: closed with one unread, a connection is reset. */
static void finish(struct connection *all, int count) {
    for (int at = 0; at < count; at++) {
        while (all[at].due && !take(&all[at]))
            sched_yield();
        close(all[at].descriptor);
    }
}

static int compare(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static int load(int port, int count, double seconds, long rate) {
    struct connection *all = calloc(count, sizeof *all);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    char line[8];
    int poller = epoll_create1(0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    delays = malloc(MOST * sizeof *delays);
    for (int at = 0; at < count; at++) {
        all[at].descriptor = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(all[at].descriptor, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        watch(poller, all[at].descriptor, at);
        /* One answer each before it counts: the other side has accepted all. */
        ask(&all[at], now());
        while (!take(&all[at]))
            sched_yield();
    }
    answers = 0;
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 1;
    run(poller, all, count, seconds, rate);
    long in_time = answers;
    finish(all, count);
    answers = in_time;
    qsort(delays, answers, sizeof *delays, compare);
    if (!answers)
        fail("no answer");
    printf("%ld %.1f %.1f %.1f %ld\n", answers, delays[answers / 2], delays[answers * 99 / 100],
           delays[answers - 1], missed);
    return 0;
}

static int serve(void) {
    struct epoll_event events[EVENTS];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), poller = epoll_create1(0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        fail("listen");
    watch(poller, listener, listener);
    watch(poller, 0, 0);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int came = epoll_wait(poller, events, EVENTS, -1);
        for (int at = 0; at < came; at++) {
            int descriptor = (int)events[at].data.u64;
            if (descriptor == 0)
                return 0;
            if (descriptor == listener) {
                int fresh = accept(listener, NULL, NULL);
                watch(poller, fresh, fresh);
                continue;
            }
            ssize_t count = recv(descriptor, room, ROOM, MSG_DONTWAIT);
            if (count <= 0 && errno != EAGAIN)
                close(descriptor);
            else if (count > 0 && send(descriptor, room, count, MSG_NOSIGNAL) != count)
                fail("send");
        }
    }
}

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "serve") == 0)
        return serve();
    if (count != 5)
        return fprintf(stderr, "usage: load PORT CONNECTIONS SECONDS RATE | load serve\n"), 2;
    return load(atoi(words[1]), atoi(words[2]), atof(words[3]), atol(words[4]));
}
