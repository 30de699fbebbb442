// The two views of the page: one job, and a notebook, which is loaded when it is first shown.

const views = { '#job': 'job-view', '#notebook': 'notebook-view' }
const skip = document.getElementById('skip')

addEventListener('hashchange', show)
show()

function show() {
  const now = Object.hasOwn(views, location.hash) ? location.hash : '#job'
  // Another anchor of the page, such as its editor.
  if (location.hash && now !== location.hash) return
  for (const [hash, id] of Object.entries(views)) {
    document.getElementById(id).hidden = hash !== now
    const link = document.querySelector(`#views a[href="${hash}"]`)
    if (hash === now) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  skip.href = now === '#job' ? '#code' : '#nb-cells'
  if (now === '#notebook') void import('./notebook.js')
  scrollTo(0, 0)
}
