//! Character class tables, generated, each with its Unicode version
