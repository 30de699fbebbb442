/* Identity files of a guest that is a copy of a claimed one. */
#ifndef AGENT_IDENTITY_H
#define AGENT_IDENTITY_H

/* Folder of the initrd on which the boot mounts a tmpfs for these files; unreachable for programs. */
#define IDENTITY_FOLDER "/identity"

/* Opens that folder; called once by the boot. Returns whether it exists. */
int open_identity(void);
/* True if the folder is open; an agent that did not boot a machine has none. */
int has_identity(void);
/* Mounts a read-only file with this text over `target`. Returns 0 or an errno. */
int put_over(const char *name, const char *text, const char *target);
/* Mounts a new random boot id. Returns 0 or an errno. */
int renew_boot_id(void);

#endif
