/* The floor: one send a delivery and nothing that could be left out.
 *
 * A client subscribes to one channel; each message from NATS goes to each of its clients by one send of
 * the same bytes, in the same envelope that a node writes. No pings, no limits, no checks of what clients
 * say beyond what keeps it from crashing. Usage: floor PORT NATS_PORT
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

#define MAX_FDS 65536
#define MAX_CHANNELS 1024
#define SUBJECT "odin.token."
#define PAYLOAD_MAX 8192

struct channel { char name[64]; int *fds; int count, room; unsigned long long last; };
struct client { char *in; int in_length; char *out; size_t out_length; int channel; char open; };

static struct client clients[MAX_FDS];
static struct channel channels[MAX_CHANNELS];
static int channel_count, epoll_fd;
static unsigned long long sequence;

/* SHA-1 of at most two blocks, as the handshake needs it (RFC 3174; RFC 6455, 4.2.2). */
static uint32_t rotl(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1(const unsigned char *data, size_t length, unsigned char digest[20])
{
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}, w[80];
    unsigned char block[128] = {0};
    size_t blocks = length + 9 <= 64 ? 1 : 2;
    memcpy(block, data, length);
    block[length] = 0x80;
    for (int i = 0; i < 8; i++) block[blocks * 64 - 1 - i] = (unsigned char)((uint64_t)length * 8 >> (8 * i));
    for (size_t b = 0; b < blocks; b++) {
        for (int i = 0; i < 16; i++) {
            const unsigned char *p = block + b * 64 + i * 4;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        uint32_t a = h[0], bb = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (bb & c) | (~bb & d), k = 0x5A827999;
            else if (i < 40) f = bb ^ c ^ d, k = 0x6ED9EBA1;
            else if (i < 60) f = (bb & c) | (bb & d) | (c & d), k = 0x8F1BBCDC;
            else f = bb ^ c ^ d, k = 0xCA62C1D6;
            uint32_t t = rotl(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rotl(bb, 30), bb = a, a = t;
        }
        h[0] += a, h[1] += bb, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char in[20], char out[29])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int o = 0;
    for (int i = 0; i < 20; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < 20 ? in[i + 1] << 8 : 0) | (i + 2 < 20 ? in[i + 2] : 0);
        for (int k = 18; k >= 0; k -= 6) out[o++] = letters[v >> k & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

static void watch(int fd, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(epoll_fd, operation, fd, &event);
}

static void drop(int fd)
{
    struct client *c = &clients[fd];
    if (c->channel >= 0) {
        struct channel *ch = &channels[c->channel];
        for (int i = 0; i < ch->count; i++)
            if (ch->fds[i] == fd) { ch->fds[i] = ch->fds[--ch->count]; break; }
    }
    free(c->in);
    free(c->out);
    memset(c, 0, sizeof *c);
    close(fd);
}

/* One send; what the socket does not take waits until it is writable. A broken client is dropped when read. */
static void deliver(int fd, const char *data, size_t length)
{
    struct client *c = &clients[fd];
    size_t sent = 0;
    if (!c->out) {
        ssize_t n = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == (ssize_t)length) return;
        if (n < 0 && errno != EAGAIN) return;
        sent = n > 0 ? (size_t)n : 0;
        watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    c->out = realloc(c->out, c->out_length + length - sent);
    memcpy(c->out + c->out_length, data + sent, length - sent);
    c->out_length += length - sent;
}

static void writable(int fd)
{
    struct client *c = &clients[fd];
    ssize_t n = c->out ? send(fd, c->out, c->out_length, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (n <= 0) return;
    c->out_length -= (size_t)n;
    memmove(c->out, c->out + n, c->out_length);
    if (c->out_length) return;
    free(c->out);
    c->out = NULL;
    watch(fd, EPOLLIN, EPOLL_CTL_MOD);
}

static void subscribe(int fd, const char *text)
{
    const char *name = strstr(text, "\"channels\":[\""), *end;
    if (!name || !(end = strchr(name += 13, '"')) || end - name > 63 || clients[fd].channel >= 0) return;
    int k = 0;
    while (k < channel_count && (strncmp(channels[k].name, name, (size_t)(end - name)) || channels[k].name[end - name])) k++;
    if (k == MAX_CHANNELS) return;
    struct channel *ch = &channels[k];
    if (k == channel_count) {
        channel_count++;
        memcpy(ch->name, name, (size_t)(end - name));
    }
    if (ch->count == ch->room) ch->fds = realloc(ch->fds, sizeof(int) * (size_t)(ch->room += 1024));
    ch->fds[ch->count++] = fd;
    clients[fd].channel = k;
    static const char ack[] = "\x81\x1b{\"type\":\"subscription_ack\"}";
    deliver(fd, ack, sizeof ack - 1);
}

static int handshake(int fd, char *request)
{
    char *key = strcasestr(request, "Sec-WebSocket-Key:"), accept[29], answer[256];
    unsigned char material[61], digest[20];
    if (!key) return drop(fd), 0;
    for (key += 18; *key == ' '; key++) ;
    memcpy(material, key, 24);
    memcpy(material + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    sha1(material, 60, digest);
    base64(digest, accept);
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    deliver(fd, answer, (size_t)n);
    return clients[fd].open = 1;
}

/* One masked frame of less than 64 KiB at `data`; its length, 0 when more is to come, -1 for the end. */
static int client_frame(int fd, char *data, int length)
{
    if (length < 2) return 0;
    int size = data[1] & 127, head = 2;
    if (size == 126) {
        if (length < 4) return 0;
        size = (unsigned char)data[2] << 8 | (unsigned char)data[3], head = 4;
    }
    if (length < head + 4 + size) return 0;
    if ((unsigned char)data[0] == 0x88) return -1;
    if ((unsigned char)data[0] == 0x81 && size < PAYLOAD_MAX) {
        char text[PAYLOAD_MAX + 1];
        for (int i = 0; i < size; i++) text[i] = (char)(data[head + 4 + i] ^ data[head + (i & 3)]);
        text[size] = 0;
        subscribe(fd, text);
    }
    return head + 4 + size;
}

static void readable(int fd)
{
    static char buffer[65536 + 1];
    struct client *c = &clients[fd];
    memcpy(buffer, c->in ? c->in : "", (size_t)c->in_length);
    ssize_t n = recv(fd, buffer + c->in_length, sizeof buffer - 1 - (size_t)c->in_length, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { drop(fd); return; }
    int length = c->in_length + (int)n, used = 0;
    free(c->in);
    c->in = NULL;
    c->in_length = 0;
    buffer[length] = 0;
    if (!c->open) {
        char *end = strstr(buffer, "\r\n\r\n");
        if (end && !handshake(fd, buffer)) return;
        if (end) used = (int)(end + 4 - buffer);
    }
    while (c->open && used < length) {
        int size = client_frame(fd, buffer + used, length - used);
        if (size < 0) { drop(fd); return; }
        if (!size) break;
        used += size;
    }
    if (used < length) {
        c->in = malloc((size_t)(length - used));
        memcpy(c->in, buffer + used, (size_t)(length - used));
        c->in_length = length - used;
    }
}

static void broadcast(const char *name, const char *payload, size_t size)
{
    static char frame[PAYLOAD_MAX + 512];
    int k = 0;
    while (k < channel_count && strcmp(channels[k].name, name)) k++;
    if (k == channel_count || size > PAYLOAD_MAX) return;
    struct channel *ch = &channels[k];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int n = snprintf(frame + 4, sizeof frame - 4,
                     "{\"seq\":%llu,\"ts\":%lld,\"type\":\"price:update\",\"channel\":\"%s\",\"prev\":%llu,\"data\":",
                     ++sequence, (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, name, ch->last);
    ch->last = sequence;
    memcpy(frame + 4 + n, payload, size);
    n += (int)size;
    frame[4 + n++] = '}';
    frame[0] = (char)0x81;
    frame[1] = 126;
    frame[2] = (char)(n >> 8);
    frame[3] = (char)n;
    for (int i = 0; i < ch->count; i++) deliver(ch->fds[i], frame, (size_t)n + 4);
}

/* The few lines of the NATS protocol that a subscriber hears. */
static void feed(int fd)
{
    static char buffer[1 << 20];
    static size_t length;
    ssize_t n = recv(fd, buffer + length, sizeof buffer - length, MSG_DONTWAIT);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) return;
        exit(1);
    }
    length += (size_t)n;
    size_t used = 0;
    for (;;) {
        char *line = buffer + used, *end = memmem(line, length - used, "\r\n", 2);
        if (!end) break;
        size_t after = (size_t)(end + 2 - buffer), size = 0;
        char subject[128], sid[32];
        *end = 0;
        if (sscanf(line, "MSG %127s %31s %zu", subject, sid, &size) == 3) {
            if (length < after + size + 2) { *end = '\r'; break; }
            broadcast(subject + sizeof SUBJECT - 1, buffer + after, size);
            after += size + 2;
        } else if (!strcmp(line, "PING") && send(fd, "PONG\r\n", 6, MSG_NOSIGNAL) < 0) exit(1);
        used = after;
    }
    memmove(buffer, buffer + used, length -= used);
}

static int nats(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    static const char hello[] = "CONNECT {\"verbose\":false}\r\nSUB " SUBJECT "> 1\r\n";
    if (connect(fd, (struct sockaddr *)&address, sizeof address) || write(fd, hello, sizeof hello - 1) < 0) {
        perror("nats");
        exit(1);
    }
    return fd;
}

static int listener(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void take(int listening)
{
    int fd, on = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        clients[fd] = (struct client){.channel = -1};
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: floor PORT NATS_PORT\n"), 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll_fd = epoll_create1(0);
    int listening = listener(atoi(argv[1])), broker = nats(atoi(argv[2]));
    watch(listening, EPOLLIN, EPOLL_CTL_ADD);
    watch(broker, EPOLLIN, EPOLL_CTL_ADD);
    struct epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listening) take(fd);
            else if (fd == broker) feed(fd);
            else {
                if (events[i].events & EPOLLOUT) writable(fd);
                if (events[i].events & ~(uint32_t)EPOLLOUT) readable(fd);
            }
        }
    }
}
