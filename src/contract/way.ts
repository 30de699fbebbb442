/** Native jail implementations, the stronger first; each is a provider of that name. */
export const ways = ['bubblewrap', 'embedded'] as const
export type Way = (typeof ways)[number]
