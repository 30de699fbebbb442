import { createRequire } from 'node:module'

/*
 * The SDK of the protocol, loaded at its first use.
 *
 * It takes some 35 MB and 150 ms of processor time, which a server that no agent asks shall not pay. A static import would be
 * joined into the one file of a checkout and read by every process of it; this `require` is left alone there, and in
 * the package it is a part that loads when it is asked for.
 */

export function serverSdk(): typeof import('@modelcontextprotocol/server') {
  return createRequire(import.meta.url)('@modelcontextprotocol/server') as never
}

export function stdioSdk(): typeof import('@modelcontextprotocol/server/stdio') {
  return createRequire(import.meta.url)('@modelcontextprotocol/server/stdio') as never
}

/** The half for clients, by which servers of others are asked. */
export function clientSdk(): typeof import('@modelcontextprotocol/client') {
  return createRequire(import.meta.url)('@modelcontextprotocol/client') as never
}
