"use strict";
// Draws the charts of a page, and reads a page anew that is served by a watch.
(() => {
  const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [5, 2], [16, 6]];
  const WIDTHS = [2.5, 2, 2, 2, 1.5, 1.5];
  const SVG = "http://www.w3.org/2000/svg";
  const stepped = uPlot.paths.stepped({align: 1});
  let drawn = [];

  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const part = (time, options) => new Date(time * 1000).toLocaleString("en-GB", {timeZone: "UTC", ...options});
  const day = time => part(time, {day: "numeric", month: "short"});
  const clock = (time, seconds) => part(time, {hour: "2-digit", minute: "2-digit", ...(seconds && {second: "2-digit"})});

  function tick(time, step) {
    return step >= 86400 || time % 86400 === 0 ? day(time) : clock(time, step < 60);
  }

  const shown = value => String(Math.abs(value) < 1000 ? Number(value.toPrecision(4)) : Math.round(value));

  function series(line, index) {
    const stroke = color(`--line-${line.color % 6}`);
    return {
      label: line.label, stroke, width: WIDTHS[index % 6], dash: DASHES[index % 6], paths: stepped, spanGaps: true,
      points: {show: false}, value: (plot, value) => value === null ? "–" : shown(value),
    };
  }

  // Without a pointer, as on a phone, the legend has the last values.
  function showLast(plot) {
    if (plot.cursor.idx == null) plot.setLegend({idx: plot.data[0].length - 1}, false);
  }

  function options(chart, width) {
    const axis = {stroke: color("--quiet"), grid: {stroke: color("--edge"), width: 1}, ticks: {stroke: color("--edge")}};
    return {
      width, height: width < 600 ? 200 : 260,
      tzDate: time => uPlot.tzDate(new Date(time * 1000), "UTC"),
      cursor: {sync: {key: "page"}, y: false, drag: {x: true, y: false}},
      legend: {markers: {width: 0}},
      hooks: {ready: [showLast], setCursor: [showLast]},
      scales: {y: {range: (plot, low, high) => [Math.min(0, low ?? 0), (high > 0 ? high : 1) * 1.08]}},
      axes: [
        {...axis, space: 70, values: (plot, times, index, space, step) => times.map(time => tick(time, step))},
        {...axis, size: 56, ...(chart.whole && {incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]})},
      ],
      series: [
        {label: "UTC", value: (plot, time) => time === null ? "–" : `${day(time)} ${clock(time, true)}`},
        ...chart.lines.map(series),
      ],
    };
  }

  // uPlot's own markers know no dashes such as those of the lines.
  function drawKeys(plot) {
    const [ofTimes, ...markers] = plot.root.querySelectorAll(".u-legend .u-marker");
    ofTimes.remove();
    markers.forEach((marker, index) => {
      const key = document.createElementNS(SVG, "svg"), line = document.createElementNS(SVG, "line");
      const {stroke, width, dash} = plot.series[index + 1];
      const facts = {
        x1: 0, x2: 36, y1: 5, y2: 5, stroke: stroke(plot, index + 1),
        "stroke-width": width, "stroke-dasharray": dash.join(" "),
      };
      Object.entries(facts).forEach(([name, value]) => line.setAttribute(name, value));
      key.setAttribute("viewBox", "0 0 36 10");
      key.append(line);
      marker.append(key);
    });
  }

  function zoomOf(plot) {
    const {min, max} = plot.scales.x, times = plot.data[0];
    return min > times[0] || max < times[times.length - 1] ? {min, max} : null;
  }

  function draw() {
    const zooms = new Map(drawn.map(({title, plot}) => [title, zoomOf(plot)]));
    drawn.forEach(({plot}) => plot.destroy());
    drawn = [...document.querySelectorAll(".chart")].map(section => {
      const chart = JSON.parse(section.querySelector("script").textContent);
      const place = section.querySelector(".plot");
      const data = [chart.times, ...chart.lines.map(line => line.values)];
      const plot = new uPlot(options(chart, place.clientWidth), data, place);
      drawKeys(plot);
      if (zooms.get(chart.title)) plot.setScale("x", zooms.get(chart.title));
      return {title: chart.title, plot};
    });
  }

  async function refresh() {
    const stale = document.getElementById("stale");
    try {
      const answer = await fetch(location.href, {cache: "no-store"});
      if (!answer.ok) throw new Error(`the watch answers ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = [...document.querySelectorAll("details[open]")].map(each => each.id);
      page.querySelectorAll("details").forEach(each => { each.open = open.includes(each.id); });
      document.querySelector("main").replaceWith(page.querySelector("main"));
      document.title = page.title;
      stale.hidden = true;
      draw();
    } catch (error) {
      if (stale.hidden) stale.textContent = `Not up to date since ${new Date().toLocaleTimeString()}: ${error.message}`;
      stale.hidden = false;
    }
  }

  let width = 0;
  addEventListener("resize", () => {
    if (width !== innerWidth) draw();
    width = innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
  const seconds = Number(document.body.dataset.refresh);
  if (seconds) setInterval(() => { if (!document.hidden) refresh(); }, seconds * 1000);
})();
