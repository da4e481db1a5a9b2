// Building the panel's elements without a framework.

/**
 * Make an element.
 * @param {string} tag tag name, with classes after dots: "button.primary"
 * @param {Record<string, unknown>} [properties] `on<event>` functions, `data-*` and `aria-*` attributes, else properties
 * @param {...(Node|string|null|undefined)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const node = document.createElement(name);
  node.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) {
    if (/^(data|aria)-/.test(key)) node.setAttribute(key, String(value));
    else if (typeof value === 'function') node.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    else node[key] = value;
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

/**
 * A button that does one of the panel's actions.
 * @param {string} action its name, for tests and styles
 * @param {string} title shown when the mouse rests on it
 * @param {string} text
 * @param {(event: MouseEvent) => void} onclick
 */
export function actionButton(action, title, text, onclick) {
  return element('button', { type: 'button', 'data-action': action, title, onclick }, text);
}

/**
 * A React component that hands its host element to `mount`, and calls what that returns when the host goes away.
 * React is not on `window`, and one element is all that is needed of it.
 * @param {(host: HTMLElement) => () => void} mount
 * @returns {() => object} a function component
 */
export function hostComponent(mount) {
  /** @type {(() => void)|null} */
  let unmount = null;
  const ref = host => {
    if (unmount) unmount();
    unmount = host ? mount(host) : null;
  };
  return () => ({
    $$typeof: reactElementSymbol(document.getElementById('root')),
    type: 'div',
    key: null,
    ref,
    props: { className: 'slmsam2-host', ref },
    _owner: null,
    _store: {},
  });
}

/**
 * The mark of a React element in the running React (it differs between major versions), read off one that is on the page.
 * @param {Element|null} root
 * @returns {symbol}
 */
function reactElementSymbol(root) {
  for (const node of root?.querySelectorAll('*') ?? []) {
    const key = Object.keys(node).find(name => name.startsWith('__reactProps$'));
    const child = key && [node[key].children].flat().find(isReactElement);
    if (child) return child.$$typeof;
  }
  return Symbol.for('react.element');
}

/** Elements, and not portals or the like. */
function isReactElement(item) {
  return /element/.test(item?.$$typeof?.description ?? '');
}
