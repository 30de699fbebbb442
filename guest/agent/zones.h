/* Zones of programs: cgroups within the job's, each with limits of its own. */
#ifndef AGENT_ZONES_H
#define AGENT_ZONES_H
#include <poll.h>
#include <stddef.h>
#include "channel.h"

/* Descriptor of execs, and one of each zone. */
enum { ZONE_POLLS_MAX = 1 + ZONES_MAX };

/* Opens the source of execs; called once the root of programs is mounted, and their cgroup is made. */
void open_zones(void);
/* True if this guest can make zones. */
int can_zone(void);

void take_rule(struct reader *payload);
void take_bound(struct reader *payload);
void take_finish(struct reader *payload);

/* Adds the descriptors to poll; returns their number. */
size_t poll_zones(struct pollfd *on);
/* Answers a bounded number of waiting execs, and reports zones that have ended. */
void serve_zones(void);
/* Answers waiting execs only. */
void answer_execs(void);

#endif
