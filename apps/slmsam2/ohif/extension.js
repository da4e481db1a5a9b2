// The OHIF extension: one panel.
import { element, hostComponent } from './element.js';

export default {
  id: 'slmsam2',
  getPanelModule: managers => [{
    name: 'panel',
    iconName: 'tab-segmentation',
    iconLabel: 'SLM-SAM 2',
    label: 'SLM-SAM 2',
    component: hostComponent(host => { host.append(element('div', {}, 'Hello')); return () => host.replaceChildren(); }),
  }],
};
