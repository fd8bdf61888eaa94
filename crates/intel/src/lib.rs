//! Sessions read together: links, campaigns, techniques, exports.
