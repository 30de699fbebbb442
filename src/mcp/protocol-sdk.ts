import { createRequire } from 'node:module'

/*
 * SDK of the Model Context Protocol, loaded at its first use.
 *
 * Loading costs some 35 MB and 150 ms of CPU time, which a server without MCP calls does not need. A static import would be
 * bundled into the single file of a checkout and loaded by every process; this `require` is not bundled there, and in
 * the package it is a separate chunk.
 */

export function serverSdk(): typeof import('./server-sdk.ts').serverParts {
  return createRequire(import.meta.url)('./server-sdk.ts').serverParts as never
}

/** Client part of the SDK, for calls to other MCP servers. */
export function clientSdk(): typeof import('./client-sdk.ts').clientParts {
  return createRequire(import.meta.url)('./client-sdk.ts').clientParts as never
}
