/* redis_cycles PORT CLIENTS -T SECONDS | -t CYCLES KEY_TAIL HEAD FAMILY_TAIL TAIL: prints how many codes a second are put
 * by SET and taken by GETDEL. As pgbench does: each client has a connection, waits for each answer, makes a new key
 * for each cycle, and does not count the time to connect. A GETDEL must answer what its SET put. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 4096 };
static char **arg;
static double seconds;
static long cycles, total;
static pthread_barrier_t connected;
static pthread_mutex_t sum = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what) {
	fprintf(stderr, "redis_cycles: %s\n", what);
	exit(1);
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void exchange(int fd, const char *request, int length, const char *answer, int expected) {
	char got[SIZE];
	int n = 0, more;
	if (write(fd, request, length) != length) die("write failed");
	while (n < expected) {
		if ((more = read(fd, got + n, SIZE - n)) <= 0) die("read failed");
		n += more;
		if (n > expected || memcmp(got, answer, n)) die("not the answer that was expected");
	}
}

static void *client(void *unused) {
	char key[SIZE], value[SIZE], request[3 * SIZE], answer[SIZE + 32];
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(arg[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, length, expected;
	uint64_t random;
	long done;
	double end;

	(void) unused;
	if (connect(fd, (struct sockaddr *) &server, sizeof server)) die("no connection");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (getrandom(&random, sizeof random, 0) != sizeof random) die("getrandom failed");
	pthread_barrier_wait(&connected);
	end = now() + seconds;
	for (done = 0; cycles ? done < cycles : now() < end; done++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		snprintf(key, SIZE, "%llu%s", 1000000000000000000ull + random % 8223372036854775808ull, arg[5]);
		snprintf(value, SIZE, "%s%.19s%s%s", arg[6], key, arg[7], arg[8]);
		length = snprintf(request, sizeof request, "*5\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$2\r\nEX\r\n$2\r\n60\r\n",
			strlen(key), key, strlen(value), value);
		exchange(fd, request, length, "+OK\r\n", 5);
		length = snprintf(request, sizeof request, "*2\r\n$6\r\nGETDEL\r\n$%zu\r\n%s\r\n", strlen(key), key);
		expected = snprintf(answer, sizeof answer, "$%zu\r\n%s\r\n", strlen(value), value);
		exchange(fd, request, length, answer, expected);
	}
	pthread_mutex_lock(&sum);
	total += done;
	pthread_mutex_unlock(&sum);
	return NULL;
}

int main(int argc, char **argv) {
	int clients, i;
	double start;
	pthread_t *threads;

	if (argc != 9) die("wrong arguments");
	arg = argv;
	clients = atoi(argv[2]);
	if (argv[3][1] == 't') cycles = atol(argv[4]); else seconds = atof(argv[4]);
	threads = calloc(clients, sizeof *threads);
	pthread_barrier_init(&connected, NULL, clients + 1);
	for (i = 0; i < clients; i++) pthread_create(&threads[i], NULL, client, NULL);
	pthread_barrier_wait(&connected);
	start = now();
	for (i = 0; i < clients; i++) pthread_join(threads[i], NULL);
	printf("%.1f\n", total / (now() - start));
}
