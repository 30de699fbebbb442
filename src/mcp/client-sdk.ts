import {
  Client,
  parseJSONRPCMessage,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'

/** Parts of the SDK's client that Mayfly uses, loaded by `protocol-sdk.ts`. The npm package has these alone: none of OAuth. */
export const clientParts = { Client, parseJSONRPCMessage, StreamableHTTPClientTransport }
