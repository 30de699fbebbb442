// The same client as a module.
import './mayfly.js'

export const { getSessionToken, requestActiveContent, runActiveContent } = globalThis
