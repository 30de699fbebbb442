const fs = require('fs');
const cheerio = require('cheerio');

const $ = cheerio.load(fs.readFileSync('shop.html', 'utf8'));

const products = $('.card')
  .map((i, el) => {
    const card = $(el);
    const price = card.find('.price').clone().children('del').remove().end().text();
    return {
      sku: card.data('sku'),
      name: card.find('h2').text().trim().replace(/\s+/g, ' '),
      price: Number(price.replace(/[^\d.]/g, '')),
      inStock: !card.hasClass('sold-out'),
      link: new URL(card.find('a').attr('href'), 'https://shop.example/catalog/').href,
      tags: card.find('.tags li').toArray().map((li) => $(li).text()),
    };
  })
  .get();

console.log(`${$('title').text()}: ${products.length} products`);
console.log(JSON.stringify(products, null, 2));

const available = products.filter((p) => p.inStock);
const cheapest = available.reduce((a, b) => (b.price < a.price ? b : a));
console.log('Cheapest in stock:', cheapest.name, `$${cheapest.price}`);

// rewrite the page: mark the sold out ones
$('.sold-out h2').append(' <em>(sold out)</em>');
$('script, del').remove();
console.log($('#list').html().replace(/^\s*\n/gm, '').trim().split('\n').length, 'lines left in #list');
console.log($('.sold-out h2').html().trim());
