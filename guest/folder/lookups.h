/* Look-ups of host names, answered in place of a name server. */
#ifndef FOLDER_LOOKUPS_H
#define FOLDER_LOOKUPS_H
#include <linux/seccomp.h>
#include <stdint.h>

enum { NAME_SERVER_PORT = 53, HOST_NAME_BYTES = 254 };

void open_lookups(void);
int lookups_fd(void);
void answer_lookups(void);
/* Remembers the program that connected this socket to a name server. */
void note_asker(const struct seccomp_notif *request, int socket);
/* Host name that was answered with this IPv4 address, in host order; NULL if none was. */
const char *name_of_address(uint32_t address);

#endif
