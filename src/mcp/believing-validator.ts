import type { jsonSchemaValidator } from '@modelcontextprotocol/server'

/**
 * Replaces the validator of the SDK, which would compile untrusted schemas, including their patterns, in this process (ReDoS).
 * Received values are untrusted data whatever their schema declares, and are read member by member.
 */
export const believingValidator: jsonSchemaValidator = {
  getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }),
}
