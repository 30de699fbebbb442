// expects: unforeseen-access
// Asks for a capability that nobody granted it.
export default async (input, { call }) => {
  try {
    return await call('mail.send', { to: 'somebody', text: 'hello' })
  } catch (error) {
    return String(error.message)
  }
}
