// Brush, eraser and threshold at hand, with their size.
import { LARGEST, SMALLEST } from './controller.js';
import { element } from './element.js';

const TOOLS = {
  CircularBrush: ['Brush', 'Paint the chosen structure (B)'],
  CircularEraser: ['Eraser', 'Erase (E)'],
  ThresholdCircularBrush: ['Threshold', 'Paint only where the intensity is in a range (T)'],
};

/** @type {import('./panel.js').MakePart} */
export function toolsPart(controller) {
  const { viewer, brush } = controller;
  const buttons = Object.entries(TOOLS).map(([tool, [name, title]]) => element('button', {
    type: 'button', 'data-tool': tool, title, onclick: () => controller.activateTool(tool),
  }, name));
  const points = element('button', {
    type: 'button', 'data-action': 'points', onclick: () => controller.togglePoints(),
    title: 'Click on the structure, with Shift beside it: the server draws this slice (C)',
  }, 'Points');
  const size = element('input', {
    type: 'range', min: SMALLEST, max: LARGEST, step: 1, title: 'Radius of brush and eraser, mm ([ smaller, ] larger)',
    oninput: event => controller.setBrush(Number(event.target.value)),
  });
  const shown = element('output');
  const [low, high] = brush.range.map(value => element('input.slmsam2-number', {
    type: 'number', value, title: 'Intensities that the threshold brush takes',
    onchange: () => {
      brush.range = [Number(low.value), Number(high.value)];
      viewer.setThreshold(brush.range);
    },
    onkeydown: event => event.stopPropagation(),
  }));
  const threshold = element('label.slmsam2-row', {}, 'Intensity', low, 'to', high);
  let prepared = false;
  return {
    node: element('section.slmsam2-part', {},
      element('div.slmsam2-row.slmsam2-joined', {}, ...buttons, points),
      element('label.slmsam2-row', {}, 'Radius', size, shown), threshold),
    update() {
      const active = controller.session && viewer.activeTool();
      if (controller.session && !prepared) {
        prepared = true;
        viewer.setBrushRadius(brush.radius);
        viewer.setThreshold(brush.range);
      }
      for (const button of buttons) {
        button.disabled = !controller.session;
        press(button, button.dataset.tool === active && !controller.clicking.active);
      }
      points.hidden = !controller.clicking.model;
      points.disabled = !controller.session;
      points.textContent = controller.clicking.waiting ? 'Drawing…' : 'Points';
      press(points, controller.clicking.active);
      size.disabled = !controller.session;
      size.value = brush.radius;
      shown.textContent = `${brush.radius} mm`;
      threshold.hidden = active !== 'ThresholdCircularBrush';
    },
  };
}

/** @param {HTMLElement} button @param {boolean} on */
function press(button, on) {
  button.classList.toggle('slmsam2-on', on);
  button.setAttribute('aria-pressed', String(on));
}
