// Brush, eraser and threshold at hand, with their size.
import { element } from './element.js';

const TOOLS = {
  CircularBrush: 'Brush',
  CircularEraser: 'Eraser',
  ThresholdCircularBrush: 'Threshold',
};

/** @type {import('./panel.js').MakePart} */
export function toolsPart(controller) {
  const { viewer } = controller;
  const buttons = Object.entries(TOOLS).map(([tool, name]) => element('button', {
    type: 'button', 'data-tool': tool, onclick: () => controller.activateTool(tool),
  }, name));
  const points = element('button', {
    type: 'button', 'data-action': 'points', onclick: () => controller.togglePoints(),
    title: 'Click on the structure, and with Shift beside it: the server draws this slice (C)',
  }, 'Points');
  const size = element('input', { type: 'range', min: 1, max: 60, step: 1, value: 15, title: 'Radius of the brush in mm' });
  const shown = element('output', {}, '15 mm');
  size.oninput = () => {
    viewer.setBrushRadius(Number(size.value));
    shown.textContent = `${size.value} mm`;
  };
  const [low, high] = [-50, 200].map(value => element('input.slmsam2-number', {
    type: 'number', value, title: 'Intensities that the threshold brush takes',
    onchange: () => viewer.setThreshold([Number(low.value), Number(high.value)]),
    onkeydown: event => event.stopPropagation(),
  }));
  const threshold = element('label.slmsam2-row', {}, 'Intensity', low, 'to', high);
  let prepared = false;
  return {
    node: element('section.slmsam2-part', {},
      element('div.slmsam2-row', {}, ...buttons, points),
      element('label.slmsam2-row', {}, 'Radius', size, shown), threshold),
    update() {
      const active = controller.session && viewer.activeTool();
      if (controller.session && !prepared) {
        prepared = true;
        viewer.setBrushRadius(Number(size.value));
        viewer.setThreshold([Number(low.value), Number(high.value)]);
      }
      for (const button of buttons) {
        button.disabled = !controller.session;
        button.classList.toggle('slmsam2-on', button.dataset.tool === active && !controller.clicking.active);
      }
      points.hidden = !controller.clicking.model;
      points.disabled = !controller.session;
      points.classList.toggle('slmsam2-on', controller.clicking.active);
      threshold.hidden = active !== 'ThresholdCircularBrush';
    },
  };
}
