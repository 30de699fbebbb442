/* AppArmor profile that confines the programs of a job. */
#ifndef AGENT_POLICY_H
#define AGENT_POLICY_H
#include <stddef.h>
#include <stdint.h>

/* Same name at the host: src/warden/engines/agent-guest/policy-text.ts. */
#define JOB_PROFILE "mayfly-job"
/* Folder of the initrd on which securityfs is mounted, and path of the first profile. */
#define SECURITY_FOLDER "/security"
#define FIRST_POLICY "/policy"

/* Loads the first profile, if the initrd has one and the kernel accepts it. */
void open_policy(void);
int has_policy(void);
/*
 * Replaces the profile of all confined processes by one that closes these classes, and verifies it. Returns 0 or an errno: EPERM if
 * an earlier one closed a class that this one does not.
 */
int replace_policy(uint8_t closes, const uint8_t *bytes, size_t length);

#endif
