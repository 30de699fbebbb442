const { Router } = require('express');

module.exports = function notesRouter() {
  const router = Router();
  const notes = new Map();
  let nextId = 1;

  router.get('/', (req, res) => {
    let list = [...notes.values()];
    if (req.query.tag) list = list.filter((n) => n.tags.includes(req.query.tag));
    res.json(list);
  });

  router.post('/', (req, res) => {
    const { title, body = '', tags = [] } = req.body ?? {};
    if (!title) {
      const err = new Error('title is required');
      err.status = 422;
      throw err;
    }
    const note = { id: nextId++, title, body, tags };
    notes.set(note.id, note);
    res.status(201).location(`/notes/${note.id}`).json(note);
  });

  router.get('/:id', async (req, res) => {
    const note = notes.get(Number(req.params.id));
    if (!note) return res.status(404).json({ error: 'note not found' });
    res.json(note);
  });

  router.delete('/:id', (req, res) => {
    res.sendStatus(notes.delete(Number(req.params.id)) ? 204 : 404);
  });

  return router;
};
