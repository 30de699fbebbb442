// A long rest that is nothing but a rest.
export default async () => {
  await new Promise((done) => setTimeout(done, 4000))
  console.log('rested')
  return 'done'
}
