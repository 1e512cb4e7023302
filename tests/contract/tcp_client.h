/* tcp_client.h: a peer of the transport over TCP that is played by hand: it connects, shows a token
 * and sends whatever a test wants; and a hub whose messages are caught.
 */
#ifndef KOFN_TESTS_CONTRACT_TCP_CLIENT_H
#define KOFN_TESTS_CONTRACT_TCP_CLIENT_H

#include "tests/contract/contract.h"
#include "tests/lib/caught_log.h"
#include "transports/uring/frame.h"
#include "transports/uring/offer.h"

#define SMALL_BYTES 100u   /* payloads on the one connection there is then */
#define LARGE_BYTES 50000u /* payloads on a connection of their own */

struct tcp_scene {
    struct kofn_caught caught;
    struct kofn_geometry geometry;
    struct kofn_hub *hub;
};

/* A worker by hand. */
struct tcp_client {
    uint32_t rank;
    struct kofn__tcp_offer offer;
    int links;
    int fds[LINKS]; /* -1 = not connected */
};

/* A hub with the options of the running fixture. @bind may be NULL. */
void tcp_open(struct tcp_scene *scene, uint32_t workers, uint64_t bytes, uint64_t peer_timeout,
              const char *bind);
void tcp_open_pull(struct tcp_scene *scene, uint32_t workers, uint64_t bytes);
void tcp_close(struct tcp_scene *scene);

/* A connection to the hub that says nothing yet; and its greeting. */
int tcp_connect(const struct kofn__tcp_offer *offer);
void tcp_greet(int fd, const struct kofn__tcp_offer *offer, enum kofn__link link);

/* Admits a rank, without more; admits and connects it, all links. */
void tcp_admit(struct tcp_scene *scene, uint32_t rank, uint32_t epoch, struct tcp_client *client);
void tcp_join(struct tcp_scene *scene, uint32_t rank, uint32_t epoch, struct tcp_client *client);

/* Tells the hub that the client has answered. */
void tcp_answer(struct tcp_scene *scene, const struct tcp_client *client);

/* Closes its connections, in order or by a reset. */
void tcp_leave(struct tcp_client *client, bool reset);

/* The connection that payloads travel on. */
int tcp_payload_fd(const struct tcp_client *client);

/* Writes the stream of publication @sequence, content as payload_is() has it, to @stream; returns
 * its bytes. tcp_stream_bytes(): room for that.
 */
size_t tcp_stream_bytes(const struct tcp_scene *scene);
size_t tcp_stream(const struct tcp_scene *scene, const struct tcp_client *client, uint64_t sequence,
                  unsigned char *stream);

/* Sends all of it, or as much as goes if the hub has cut the connection; true if all went. */
bool tcp_send(int fd, const void *bytes, size_t count);

/* Reads exactly @count bytes within WORLD_SECONDS; false at an end. */
bool tcp_receive(int fd, void *bytes, size_t count);

/* True if the hub ends this connection within WORLD_SECONDS; what it still sends is skipped. The
 * hub is moved along meanwhile. */
bool tcp_is_cut(struct tcp_scene *scene, int fd);

/* Polls until there is an arrival or a failure, at most WORLD_SECONDS; as hub_poll(). */
int tcp_poll(struct tcp_scene *scene, struct kofn_arrival *arrival);

/* Nothing has arrived, now and after all that is in sockets has been looked at. */
bool tcp_quiet(struct tcp_scene *scene);

/* The suites. */
void contract_tcp_strangers(CU_pSuite suite); /* test_tcp_strangers.c */
void contract_tcp_hostile(CU_pSuite suite);   /* test_tcp_hostile.c */
void contract_tcp_faults(CU_pSuite suite);    /* test_tcp_faults.c */
void contract_tcp_away(CU_pSuite suite);      /* test_tcp_away.c */
void contract_tcp_engines(CU_pSuite suite);   /* test_tcp_engines.c */

#endif
