//! The base under a dimension that is made of nothing else.

mod lines;
mod moving;
mod rules;
