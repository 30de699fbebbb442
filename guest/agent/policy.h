/* Profile of AppArmor that the programs of a job are under. */
#ifndef AGENT_POLICY_H
#define AGENT_POLICY_H
#include <stddef.h>
#include <stdint.h>

/* The host names it too: src/warden/engines/agent-guest/policy-text.ts. */
#define JOB_PROFILE "mayfly-job"
/* Folder of the initrd on which the kernel's interface is mounted, and the first profile. */
#define SECURITY_FOLDER "/security"
#define FIRST_POLICY "/policy"

/* Loads the first profile, if one came with the initrd and the kernel takes it. */
void open_policy(void);
int has_policy(void);
/*
 * Replaces the profile for all processes under it by one that closes these classes, and reads it back. Returns an errno: EPERM
 * where an earlier one closed more.
 */
int replace_policy(uint8_t closes, const uint8_t *bytes, size_t length);

#endif
