/* Files that name a guest which is a copy of one that was claimed. */
#ifndef AGENT_IDENTITY_H
#define AGENT_IDENTITY_H

/* Folder of the initrd on which the boot mounts memory for such files: no program can name it. */
#define IDENTITY_FOLDER "/identity"

/* Returns whether there is a folder for them; called once, by the boot. */
int open_identity(void);
/* Whether `open_identity` was called: an agent without a boot has no such folder. */
int has_identity(void);
/* A file with this text lies over `target` from here on, read-only. 0 or an errno. */
int put_over(const char *name, const char *text, const char *target);
/* Another boot id, of the kernel's generator. 0 or an errno. */
int renew_boot_id(void);

#endif
