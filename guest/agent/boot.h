/* The boot of a machine whose kernel started the agent as /init of its initrd. */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

/* Folder of a file system of its own for the runner's result and input, which stays open when writing is closed. */
#define RESULT_FOLDER "/run/result"

/*
 * Opens the channel through that port, loads modules, and makes the root: an overlay in memory over the
 * image on `disk`. Ends the agent with a BOOT_ code where a step fails.
 */
void boot(const char *port, const char *disk);

/* Takes `port=NAME=PORT`, a port that programs may be given, `scratch=BYTES` or `restart`, before the boot; 0 for any other word. */
int take_boot_option(char *option);

#endif
