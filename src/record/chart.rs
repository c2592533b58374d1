//! What a figure shows, as plain numbers: everything is computed before it gets here.

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences, equal lengths.
    Linear,
    /// Equal ratios, equal lengths.
    Log,
}

/// One line with a band over repeats. All vectors have one length; values that are not finite are gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Text of the legend; empty for a line that needs none.
    pub label: String,
    /// Position of this series in the order that colours show, from 0 to 1.
    pub shade: f64,
    /// Abscissae.
    pub x: Vec<f64>,
    /// Median over repeats.
    pub median: Vec<f64>,
    /// Lower edge of the band.
    pub low: Vec<f64>,
    /// Upper edge of the band.
    pub high: Vec<f64>,
}

/// Lines over a pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// Title of the abscissa, with its unit where it has one.
    pub x_label: String,
    /// Title of the ordinate.
    pub y_label: String,
    /// Scale of the abscissa.
    pub x_scale: Scale,
    /// Scale of the ordinate.
    pub y_scale: Scale,
    /// Whether the abscissae are whole numbers (ranks) drawn with markers.
    pub ranks: bool,
    /// Title of the legend; what its labels are values of.
    pub legend_title: String,
    /// The lines.
    pub series: Vec<Series>,
    /// Numerical floor of the ordinate: nothing below it is a value.
    pub floor: Option<f64>,
}

/// A matrix drawn as coloured cells.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// Title of the horizontal axis (columns).
    pub x_label: String,
    /// Title of the vertical axis (rows, the first at the top).
    pub y_label: String,
    /// Title of the colour scale.
    pub value_label: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Row by row.
    pub values: Vec<f64>,
    /// Ends of the colour scale.
    pub range: (f64, f64),
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Lines over a pair of axes.
    Lines(LineChart),
    /// A matrix as coloured cells.
    HeatMap(HeatMap),
}

/// A figure, complete with its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Title over the chart.
    pub title: String,
    /// Caption line: loss, sides, dynamics, seeds and time.
    pub caption: String,
    /// Small print: plan hash and version.
    pub provenance: String,
    /// What is drawn.
    pub chart: Chart,
}
