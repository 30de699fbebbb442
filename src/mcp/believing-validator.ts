import type { jsonSchemaValidator } from '@modelcontextprotocol/server'

/**
 * Stands in for the validator of the SDK, which would compile schemas of strangers, patterns included, in this process. What
 * comes is data, whatever its schema says, and is read member by member.
 */
export const believingValidator: jsonSchemaValidator = {
  getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }),
}
