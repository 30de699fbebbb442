// The same client as a module.
await import('./mayfly.js')

export const { getSessionToken, requestActiveContent, runActiveContent } = globalThis
