import Handlebars from './handlebars.js'

export default (input) => Handlebars.compile(input.template)(input.data)
