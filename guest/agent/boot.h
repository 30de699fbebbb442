/* The boot of a machine whose kernel started the agent as /init of its initrd. */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

/* Separate tmpfs for the runner's result and input, which stays writable when writing is closed. */
#define RESULT_FOLDER "/run/result"

/*
 * Opens the channel on that port, loads modules, and makes the root: an overlay in memory over the image on `disk`. Ends the agent
 * with a BOOT_ code if a step fails.
 */
void boot(const char *port, const char *disk);

/* Parses `port=NAME=PORT` (a port for programs), `scratch=BYTES` or `restart` before the boot; 0 for any other option. */
int take_boot_option(char *option);

#endif
