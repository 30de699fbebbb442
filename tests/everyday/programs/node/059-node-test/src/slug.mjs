export const slugify = (s) =>
  s
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/(^-|-$)/g, '');

export const unslugify = (s) => s.split('-').map((w) => w[0].toUpperCase() + w.slice(1)).join(' ');
