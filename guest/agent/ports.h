/* Ports of a machine: its channels to the host. */
#ifndef AGENT_PORTS_H
#define AGENT_PORTS_H

/*
 * Opens a port, or returns -1 with errno where it is not there yet: a serial line by its absolute path, `vsock:NUMBER` as a
 * socket that listens for the host, any other name as that of a virtio port. Not blocking.
 */
int open_port(const char *name);
/* Whether the port is a vsock, whose driver is a module of the initrd. */
int is_vsock(const char *name);

#endif
