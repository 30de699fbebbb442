/** Native jail implementations, the stronger first; each is a provider of that name. */
export const jailKinds = ['bubblewrap', 'embedded'] as const
export type JailKind = (typeof jailKinds)[number]
