/* The load client where Python would be what is measured: dense traffic, storms, and clients that are cut,
 * come back, resume and check that each message reaches them once and in order.
 *
 * Usage: client PORT KIND REQUEST ACK PING ANSWER. KIND is `node` for servers whose messages begin with
 * {"seq": one a frame, `other` for those that put any number of ticks into a frame. ACK stands in the
 * text that confirms a subscription; the text PING is answered by the frame ANSWER (hex).
 *
 * Commands come as JSON lines on standard input, each answered by one line:
 * open    count, flight, frames (hex, sent in turn once open): answered when all are subscribed or failed
 * launch  count, flight, channels, and next (number of the first tick wanted), epoch and seq (to resume
 *         from) if known: checking clients, one channel each in turn; answered at once
 * cut     least, most, away: each checking client is cut after as many seconds, again and again
 * calm    no more cuts
 * reset   a new window
 * figures with upto: how many checking clients still lack ticks up to this number, and how many of them
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 131072
#define MAX_CLIENTS 65536
#define MAX_LISTS 1024
#define READ_BYTES 131072
#define LONGEST_REST (1 << 20)
#define BIN_NS 250000
#define BINS 40000
#define RUN 16 /* messages of one read that the stamp of the oldest of them stands for */
#define OPEN_NS 60000000000LL
#define SOURCES 16 /* addresses of this machine that clients come from: one has 28,000 ports */

enum { AWAY, CONNECTING, HANDSHAKE, OPEN, SUBSCRIBED, DEAD };

struct client {
    int fd, list;
    unsigned char state, checking, placed; /* placed: `seq` is where it stands in the stream */
    char *rest;
    int rest_length;
    unsigned long long seq, ts, next;
    int64_t at; /* when it is cut, or comes back */
};
struct list { char *frame; int length; char channel[64]; };

static struct client clients[MAX_CLIENTS];
static int client_count, owner[MAX_FDS], epoll_fd, port, plain_kind;
static const char *request, *ack, *ping;
static char answer[256], epoch[64];
static int answer_length;
static struct list lists[MAX_LISTS];
static int list_first, list_count, to_start, flight, flying, opening, opening_from;
static int64_t opening_began, window_began;
static double window_cpu;
static unsigned long long messages, total, bytes, reads, longest_ns;
static unsigned long long lost, doubled, told, cuts, resumed, refused, broken, closed;
static int subscribed, cutting, window_closed, last_code;
static int64_t cut_least, cut_most, away_most;
static uint64_t bins[BINS], dice = 88172645463325252ULL;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t within(int64_t least, int64_t most)
{
    dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
    return most > least ? least + (int64_t)(dice % (uint64_t)(most - least)) : least;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void reset(void)
{
    messages = bytes = reads = longest_ns = 0;
    window_closed = 0;
    memset(bins, 0, sizeof bins);
    window_cpu = cpu_seconds();
    window_began = now_ns();
}

static void observe(unsigned long long stamp, unsigned count, int64_t now)
{
    uint64_t late = now > (int64_t)stamp ? (uint64_t)now - stamp : 0, bin = late / BIN_NS;
    if (late > longest_ns) longest_ns = late;
    bins[bin < BINS ? bin : BINS - 1] += count;
}

/* The number after `name` in the text; `otherwise` where there is none. */
static unsigned long long number(const char *text, size_t size, const char *name, unsigned long long otherwise)
{
    const char *found = memmem(text, size, name, strlen(name));
    return found ? strtoull(found + strlen(name), NULL, 10) : otherwise;
}

static int holds(const char *text, size_t size, const char *what)
{
    return *what && memmem(text, size, what, strlen(what)) != NULL;
}

static void watch(int fd, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(epoll_fd, operation, fd, &event);
}

static void start(struct client *c)
{
    int on = 1, index = (int)(c - clients);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || fd >= MAX_FDS) {
        if (fd >= 0) close(fd);
        broken++, c->state = DEAD;
        return;
    }
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index % SOURCES));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    bind(fd, (struct sockaddr *)&from, sizeof from);
    connect(fd, (struct sockaddr *)&to, sizeof to);
    owner[fd] = index;
    c->fd = fd, c->state = CONNECTING;
    flying++;
    watch(fd, EPOLLOUT, EPOLL_CTL_ADD);
}

/* The connection is over; a checking client comes back. */
static void end(struct client *c, int64_t back)
{
    if (c->state == SUBSCRIBED) subscribed--;
    else flying--;
    free(c->rest);
    c->rest = NULL, c->rest_length = 0;
    close(c->fd);
    c->fd = -1;
    c->state = c->checking ? AWAY : DEAD;
    c->at = now_ns() + back;
}

static void fail(struct client *c, unsigned long long *counter)
{
    if (c->state == SUBSCRIBED) window_closed++;
    ++*counter;
    end(c, within(500000000, 1500000000));
}

/* Cut without a word: a reset, so that nothing of the old connection is left to be read. */
static void cut(struct client *c)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    cuts++;
    end(c, within(0, away_most));
}

static int subscribe_frame(struct client *c, char *out, size_t room)
{
    struct list *l = &lists[c->list];
    if (!c->checking) {
        memcpy(out, l->frame, (size_t)l->length);
        return l->length;
    }
    char text[512], ts[40] = "", resume[200] = "";
    if (c->ts) snprintf(ts, sizeof ts, ",\"ts\":%llu", c->ts);
    if (*epoch && c->placed) {
        snprintf(resume, sizeof resume, ",\"resume\":{\"epoch\":\"%s\",\"seq\":%llu%s}", epoch, c->seq, ts);
        resumed++;
    }
    int size = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"data\":{\"channels\":[\"%s\"]%s}}", l->channel, resume);
    /* A mask of zeros is a mask, and leaves the bytes as they are. */
    int head = size < 126 ? 6 : 8;
    if ((size_t)(head + size) > room) return 0;
    memset(out, 0, (size_t)head);
    out[0] = (char)0x81;
    if (size < 126) out[1] = (char)(0x80 | size);
    else out[1] = (char)0xFE, out[2] = (char)(size >> 8), out[3] = (char)size;
    memcpy(out + head, text, (size_t)size);
    return head + size;
}

static void confirmed(struct client *c)
{
    if (c->state != OPEN) return;
    c->state = SUBSCRIBED;
    flying--, subscribed++;
    c->at = now_ns() + within(cut_least, cut_most);
}

/* A text that is no message, to a checking client. */
static void control(struct client *c, const char *text, size_t size)
{
    unsigned long long seq = number(text, size, "\"seq\":", 0);
    if (holds(text, size, "\"type\":\"hello\"")) {
        const char *found = memmem(text, size, "\"epoch\":\"", 9), *stop = found ? strchr(found + 9, '"') : NULL;
        if (stop && stop < text + size && stop - found - 9 < (int)sizeof epoch) {
            memcpy(epoch, found + 9, (size_t)(stop - found - 9));
            epoch[stop - found - 9] = 0;
        }
        return;
    }
    if (holds(text, size, "\"recovered\":false") || holds(text, size, "\"missing\":") || holds(text, size, "\"prev\":")) told++;
    if (holds(text, size, "\"type\":\"subscription_ack\"")) {
        /* Who resumes stands where it stood until the messages have come. */
        if (!c->placed) c->seq = seq, c->ts = 0, c->placed = 1;
    } else if (holds(text, size, "\"type\":\"position\"") || holds(text, size, "\"type\":\"caught_up\"")) {
        if (seq > c->seq) c->seq = seq, c->ts = 0;
    }
}

/* One message to a checking client: its tick's number must be the next. */
static void check(struct client *c, const char *text, size_t size)
{
    const char *data = memmem(text, size, "\"data\":", 7);
    if (!data) return;
    unsigned long long n = number(data, (size_t)(text + size - data), "\"n\":", 0);
    c->seq = strtoull(text + 7, NULL, 10);
    c->ts = number(text, (size_t)(data - text), "\"ts\":", 0);
    if (!c->next) c->next = n;
    if (n < c->next) { doubled++; return; }
    lost += n - c->next;
    c->next = n + 1;
}

/* Whole frames of one read; returns their bytes, -1 when the connection is over. `run` counts the messages
 * that the stamp of the oldest of them stands for. */
static int take(struct client *c, char *data, int length)
{
    int used = 0;
    unsigned found = 0, run = 0;
    unsigned long long stamp = 0;
    int64_t now = now_ns();
    while (length - used >= 2) {
        unsigned char *head = (unsigned char *)data + used;
        int size = head[1] & 127, at = 2;
        if (size == 126) {
            if (length - used < 4) break;
            size = head[2] << 8 | head[3], at = 4;
        } else if (size == 127) {
            if (length - used < 10) break;
            size = head[6] << 24 | head[7] << 16 | head[8] << 8 | head[9], at = 10;
        }
        if (size < 0 || size > LONGEST_REST) { fail(c, &broken); return -1; }
        if (length - used < at + size) break;
        char *text = data + used + at;
        used += at + size;
        if (head[0] == 0x88) {
            last_code = size >= 2 ? (unsigned char)text[0] << 8 | (unsigned char)text[1] : 1005;
            fail(c, &closed);
            return -1;
        }
        if (head[0] == 0x89 && size < 126) {
            char pong[140] = {(char)0x8A, (char)(0x80 | size)};
            memcpy(pong + 6, text, (size_t)size);
            if (write(c->fd, pong, (size_t)size + 6) < 0) continue;
        }
        if (head[0] != 0x81 && head[0] != 0x82) continue;
        unsigned here = 0;
        if (plain_kind) here = size > 7 && !memcmp(text, "{\"seq\":", 7);
        else
            for (char *p = text; (p = memmem(p, (size_t)(text + size - p), "{\"t\":", 5)); p += 5) here++;
        if (here && c->checking) check(c, text, (size_t)size);
        else if (here) {
            if (!run) {
                char *t = memmem(text, (size_t)size, "{\"t\":", 5);
                stamp = t ? strtoull(t + 5, NULL, 10) : 0;
            }
            run += here;
            if (run >= RUN) observe(stamp, run, now), run = 0;
        } else {
            if (holds(text, (size_t)size, ack)) confirmed(c);
            if (c->checking) control(c, text, (size_t)size);
            if (plain_kind && holds(text, (size_t)size, "\"type\":\"error\"")) { fail(c, &broken); return -1; }
            if (*ping && (size_t)size == strlen(ping) && !memcmp(text, ping, (size_t)size) && write(c->fd, answer, (size_t)answer_length) < 0) continue;
        }
        found += here;
    }
    if (run) observe(stamp, run, now);
    messages += found, total += found;
    return used;
}

static void readable(struct client *c)
{
    static char buffer[LONGEST_REST + READ_BYTES + 1];
    memcpy(buffer, c->rest ? c->rest : "", (size_t)c->rest_length);
    ssize_t n = recv(c->fd, buffer + c->rest_length, READ_BYTES, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { last_code = 1006; fail(c, &closed); return; }
    int length = c->rest_length + (int)n, used = 0;
    free(c->rest);
    c->rest = NULL, c->rest_length = 0;
    bytes += (unsigned long long)n, reads++;
    buffer[length] = 0;
    if (c->state == HANDSHAKE) {
        char *stop = strstr(buffer, "\r\n\r\n"), frame[8192];
        if (stop && strncmp(buffer, "HTTP/1.1 101 ", 13)) { fail(c, &refused); return; }
        if (stop) {
            used = (int)(stop + 4 - buffer);
            c->state = OPEN;
            int size = subscribe_frame(c, frame, sizeof frame);
            if (write(c->fd, frame, (size_t)size) != size) { fail(c, &broken); return; }
        }
    }
    if (c->state >= OPEN) {
        int taken = take(c, buffer + used, length - used);
        if (taken < 0) return;
        used += taken;
    }
    if (used < length) {
        if (length - used > LONGEST_REST) { fail(c, &broken); return; }
        c->rest_length = length - used;
        c->rest = malloc((size_t)c->rest_length);
        memcpy(c->rest, buffer + used, (size_t)c->rest_length);
    }
}

static void connected(struct client *c)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error || write(c->fd, request, strlen(request)) < 0) { fail(c, &broken); return; }
    c->state = HANDSHAKE;
    watch(c->fd, EPOLLIN, EPOLL_CTL_MOD);
}

/* What is due by the clock: new clients, cuts, those who come back. */
static void due(int64_t now)
{
    static int64_t looked;
    while (to_start && flying < flight && client_count < MAX_CLIENTS) {
        struct client *c = &clients[client_count++];
        c->list = list_first + client_count % list_count;
        to_start--;
        start(c);
    }
    if (now - looked < 5000000) return;
    looked = now;
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (!c->checking || c->at > now) continue;
        if (c->state == SUBSCRIBED && cutting) cut(c);
        else if (c->state == AWAY && flying < flight) start(c);
    }
}

static void say_opened(int64_t now)
{
    if (!opening || ((to_start || flying) && now - opening_began < OPEN_NS)) return;
    opening = to_start = 0;
    printf("{\"seconds\":%.6f,\"opened\":%d,\"failed\":{\"refused\":%llu,\"broken\":%llu,\"closed %d\":%llu}}\n",
           (double)(now - opening_began) / 1e9, subscribed - opening_from, refused, broken, last_code, closed);
    fflush(stdout);
}

static double percentile(uint64_t count, double share)
{
    uint64_t seen = 0;
    double longest = (double)longest_ns / 1e6;
    for (int i = 0; i < BINS; i++) {
        seen += bins[i];
        if ((double)seen >= (double)count * share) {
            double upper = (i + 1) * (BIN_NS / 1e6);
            return upper < longest ? upper : longest;
        }
    }
    return longest;
}

static void say_figures(unsigned long long upto)
{
    uint64_t count = 0;
    int behind = 0, checking = 0;
    unsigned long long lacking = 0;
    for (int i = 0; i < BINS; i++) count += bins[i];
    for (int i = 0; i < client_count; i++) {
        checking += clients[i].checking;
        if (!clients[i].checking || clients[i].next > upto) continue;
        behind++, lacking += upto + 1 - clients[i].next;
    }
    printf("{\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"subscribed\":%d,\"deflated\":false,\"messages\":%llu,\"total\":%llu,"
           "\"bytes\":%llu,\"reads\":%llu,\"failed\":{},\"lost\":{", (double)(now_ns() - window_began) / 1e9,
           cpu_seconds() - window_cpu, subscribed, messages, total, bytes, reads);
    if (window_closed) printf("\"closed %d\":%d", last_code, window_closed);
    printf("},\"latency_ms\":{");
    if (count)
        printf("\"p50\":%.3f,\"p99\":%.3f,\"p99.9\":%.3f,\"max\":%.3f,\"count\":%llu", percentile(count, 0.5),
               percentile(count, 0.99), percentile(count, 0.999), (double)longest_ns / 1e6, (unsigned long long)count);
    printf("},\"checking\":%d,\"behind\":%d,\"lacking\":%llu,\"lost_ticks\":%llu,\"doubled\":%llu,\"told\":%llu,\"cuts\":%llu,"
           "\"resumed\":%llu,\"refused\":%llu,\"broken\":%llu,\"closed\":%llu,\"waiting\":%d}\n",
           checking, behind, lacking, lost, doubled, told, cuts, resumed, refused, broken, closed, to_start);
    fflush(stdout);
}

static int hex(const char *text, char *out)
{
    int n = 0;
    unsigned byte;
    while (sscanf(text + 2 * n, "%2x", &byte) == 1) out[n++] = (char)byte;
    return n;
}

/* The strings of `"name":["…","…"]`, one list each. */
static void read_lists(char *line, const char *name, int are_frames)
{
    char *at = strstr(line, name);
    static int used;
    list_first = used, list_count = 0;
    if (!at) return;
    char *stop = strchr(at, ']');
    for (at = strchr(at, '['); at && (at = strchr(at, '"')) && at < stop && used < MAX_LISTS; used++, list_count++) {
        char *last = strchr(++at, '"');
        *last = 0;
        struct list *l = &lists[used];
        if (are_frames) {
            l->frame = malloc(strlen(at) / 2 + 1);
            l->length = hex(at, l->frame);
        } else snprintf(l->channel, sizeof l->channel, "%s", at);
        at = last + 1;
    }
}

static double real(const char *line, const char *name)
{
    const char *found = strstr(line, name);
    return found ? strtod(found + strlen(name), NULL) : 0;
}

static void begin(char *line, int checking)
{
    int count = (int)real(line, "\"count\":");
    char *known = strstr(line, "\"epoch\":\"");
    unsigned long long next = number(line, strlen(line), "\"next\":", 0), seq = number(line, strlen(line), "\"seq\":", 0);
    flight = (int)real(line, "\"flight\":");
    if (known) sscanf(known + 9, "%63[^\"]", epoch);
    read_lists(line, checking ? "\"channels\":" : "\"frames\":", !checking);
    if (!list_count || client_count + count > MAX_CLIENTS) count = 0;
    for (int i = client_count; i < client_count + count; i++) {
        memset(&clients[i], 0, sizeof clients[i]);
        clients[i].checking = (unsigned char)checking;
        clients[i].next = next;
        if (known) clients[i].seq = seq, clients[i].placed = 1;
    }
    to_start = count;
    opening_began = now_ns(), opening_from = subscribed;
}

static void command(char *line)
{
    if (strstr(line, "\"open\"")) {
        begin(line, 0);
        opening = 1;
        return;
    }
    if (strstr(line, "\"launch\"")) begin(line, 1);
    else if (strstr(line, "\"cut\"")) {
        cut_least = (int64_t)(real(line, "\"least\":") * 1e9), cut_most = (int64_t)(real(line, "\"most\":") * 1e9);
        away_most = (int64_t)(real(line, "\"away\":") * 1e9);
        cutting = 1;
        for (int i = 0; i < client_count; i++)
            if (clients[i].state == SUBSCRIBED) clients[i].at = now_ns() + within(0, cut_most);
    } else if (strstr(line, "\"calm\"")) cutting = 0;
    else if (strstr(line, "\"reset\"")) reset();
    else if (strstr(line, "\"figures\"")) {
        say_figures(number(line, strlen(line), "\"upto\":", 0));
        return;
    }
    puts("{}");
    fflush(stdout);
}

static void commands(void)
{
    static char line[1 << 20];
    static size_t length;
    ssize_t n = read(0, line + length, sizeof line - 1 - length);
    if (n <= 0) exit(0);
    line[length += (size_t)n] = 0;
    for (char *stop; (stop = strchr(line, '\n')); ) {
        *stop = 0;
        command(line);
        memmove(line, stop + 1, length -= (size_t)(stop + 1 - line));
        line[length] = 0;
    }
}

int main(int argc, char **argv)
{
    if (argc != 7) return fprintf(stderr, "usage: client PORT node|other REQUEST ACK PING ANSWER\n"), 2;
    port = atoi(argv[1]), plain_kind = !strcmp(argv[2], "node");
    request = argv[3], ack = argv[4], ping = argv[5];
    if (strlen(argv[6]) / 2 > sizeof answer) return 2;
    answer_length = hex(argv[6], answer);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll_fd = epoll_create1(0);
    watch(0, EPOLLIN, EPOLL_CTL_ADD);
    reset();
    struct epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 1024, to_start && flying < flight ? 0 : 5);
        int64_t now = now_ns();
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            struct client *c = &clients[owner[fd]];
            if (!fd) commands();
            else if (c->fd != fd) continue;
            else if (c->state == CONNECTING) connected(c);
            else readable(c);
        }
        due(now);
        say_opened(now);
    }
}
