/* Ports of a machine: its channels to the host. */
#ifndef AGENT_PORTS_H
#define AGENT_PORTS_H

/*
 * Opens a port non-blocking: a serial line by its absolute path, `vsock:NUMBER` as a listening socket, any other name as that of a
 * virtio port. Returns -1 with errno if it does not exist yet.
 */
int open_port(const char *name);
/* True if the port is a vsock, whose driver is a module of the initrd. */
int is_vsock(const char *name);

#endif
